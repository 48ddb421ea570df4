//! Whether what was answered is true: a sample of profiles and their pictures, fetched, decoded and measured.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cli::bench_upload::client::{Client, Outgoing};
use crate::cli::bench_upload::load::Load;
use crate::cli::bench_upload::tally::Tally;
use crate::service;

/// The last marker of a JPEG. Source: ITU-T T.81, B.2.1.
const END_OF_IMAGE: &[u8] = b"\xff\xd9";

/// What became of the sample.
#[derive(Debug, Default)]
pub(super) struct Verified {
    /// Profiles looked at.
    pub(super) profiles: usize,
    /// Pictures that were fetched and are right.
    pub(super) pictures: usize,
    /// What is wrong, a sentence each, and with how many profiles.
    pub(super) wrong: BTreeMap<String, usize>,
}

/// Looks at up to `sample` users with an accepted upload, spread over all of them.
pub(super) async fn sample(load: &Load, tally: &Tally, sample: usize) -> Verified {
    let mut verified = Verified::default();
    let mut client = Client::new(load.endpoint.clone(), true, load.patience);
    let mut users: Vec<usize> = tally.users.iter().copied().collect();
    users.sort_unstable();
    let step = users.len().checked_div(sample).unwrap_or(usize::MAX).max(1);
    for user in users.into_iter().step_by(step).take(sample) {
        let Some(token) = load.tokens.get(user) else {
            continue;
        };
        verified.profiles = verified.profiles.saturating_add(1);
        match profile(&mut client, load, tally, token).await {
            Ok(pictures) => verified.pictures = verified.pictures.saturating_add(pictures),
            Err(sentence) => {
                let count = verified.wrong.entry(sentence).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    verified
}

/// One user's profile and all its pictures; gives how many those are.
async fn profile(
    client: &mut Client,
    load: &Load,
    tally: &Tally,
    token: &str,
) -> Result<usize, String> {
    let path = load.endpoint.path("/api/users/me/profile/");
    let body = fetched(client, &path, Some(token)).await?;
    let profile: Value =
        serde_json::from_slice(&body).map_err(|error| format!("{path} is not JSON: {error}"))?;
    let url = profile
        .get("profile_picture_url")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("{path} has no profile_picture_url"))?;
    // An upload that was given up on may have been stored nevertheless.
    if tally.failures.is_empty() && !tally.pictures.contains(url) {
        return Err(format!(
            "the profile shows {url}, which no answer of this run named"
        ));
    }
    let picture = profile.get("picture").unwrap_or(&Value::Null);
    let pixels = |name: &str| picture.get(name).and_then(Value::as_u64);
    let said = pixels("width").zip(pixels("height"));
    let (width, height) =
        said.ok_or_else(|| format!("{path} has no picture.width and picture.height"))?;
    let urls = picture.get("urls").and_then(Value::as_object);
    let urls = urls.filter(|urls| !urls.is_empty());
    let urls = urls.ok_or_else(|| format!("{path} has no picture.urls"))?;
    for (size, url) in urls {
        let url = url.as_str().unwrap_or_default();
        let size: u64 = size
            .parse()
            .map_err(|_| format!("{size:?} in picture.urls is no size"))?;
        let longest = width.max(height).min(size);
        let (found_width, found_height) = picture_size(client, url).await?;
        let is_largest = url_is(&profile, url);
        if found_width.max(found_height) != longest
            || (is_largest && (found_width, found_height) != (width, height))
        {
            return Err(format!(
                "{url} is {found_width}x{found_height}, which is not what {width}x{height} in size {size} is"
            ));
        }
    }
    Ok(urls.len())
}

fn url_is(profile: &Value, url: &str) -> bool {
    profile.get("profile_picture_url").and_then(Value::as_str) == Some(url)
}

/// Width and height of a picture, by decoding all of it.
async fn picture_size(client: &mut Client, url: &str) -> Result<(u64, u64), String> {
    // Whatever name the server gives itself, here it is reached by the address under load.
    let path = match url.split_once("://") {
        Some((_, rest)) => rest
            .find('/')
            .and_then(|slash| rest.get(slash..))
            .unwrap_or("/"),
        None => url,
    };
    let body = fetched(client, path, None).await?;
    let decoded = image::load_from_memory_with_format(&body, image::ImageFormat::Jpeg)
        .map_err(|error| format!("{url} is not a JPEG: {error}"))?;
    // The decoder makes up what is missing at the end.
    if !body.ends_with(END_OF_IMAGE) {
        return Err(format!(
            "{url} is cut off: its {} bytes do not end with the end of an image",
            body.len()
        ));
    }
    Ok((decoded.width().into(), decoded.height().into()))
}

async fn fetched(
    client: &mut Client,
    path: &str,
    token: Option<&str>,
) -> Result<bytes::Bytes, String> {
    let answer = client.send(&Outgoing::get(path, token)).await;
    let answer = answer.map_err(|failure| format!("{path}: {}", service::chain(&failure)))?;
    if answer.status == 200 {
        return Ok(answer.body);
    }
    Err(format!(
        "{path}: status {} {}",
        answer.status,
        super::excerpt(&answer.body)
    ))
}
