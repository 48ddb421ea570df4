//! The upload's form: `multipart/form-data` (RFC 7578) with one file `image` and, if wanted, a text `crop`.
//!
//! The file is streamed and counted; reading stops at the limit. Names and types that the client gives are ignored:
//! only content decides what a file is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use multer::{Constraints, Multipart, SizeLimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config;
use crate::domain::picture::Crop;
use crate::domain::picture::InvalidCrop;
use crate::http::body::Body;
use crate::http::request::Refusal;
use crate::http::request::media_type;

/// What the form holds.
#[derive(Debug)]
pub(super) struct Form {
    /// The file. Gives its room among the bodies back when its last copy is dropped.
    pub(super) image: Bytes,
    /// The chosen part of it.
    pub(super) crop: Option<Crop>,
}

/// Room for bodies in flight, in KiB.
#[derive(Clone, Debug)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    wait: Duration,
}

/// Longest boundary, in characters. Source: RFC 2046 §5.1.1.
const BOUNDARY_CHARS_MAX: usize = 70;
/// One unit of [`Room`], in bytes.
const UNIT_BYTES: u64 = 1_024;

impl Room {
    pub(super) fn new(config: &config::Http) -> Self {
        let units =
            usize::try_from(config.bodies_bytes_max.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        Self {
            free: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            wait: Duration::from_millis(config.bodies_wait_ms),
        }
    }

    /// Waits, not for ever, until `bytes` more may be held. Meanwhile nothing is read: the client's own buffers fill,
    /// and it slows down.
    async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let room = timeout(self.wait, Arc::clone(&self.free).acquire_many_owned(units)).await;
        room.ok().and_then(Result::ok).ok_or(Refusal::BodiesFull)
    }
}

/// A file and the room that it takes.
struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the form.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    room: &Room,
    config: &config::Http,
) -> Result<Form, Refusal> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|field| field.to_str().ok())
        .unwrap_or_default();
    if media_type(headers) != "multipart/form-data" {
        return Err(Refusal::MediaType(content_type.to_owned()));
    }
    let boundary = multer::parse_boundary(content_type).unwrap_or_default();
    if !(1..=BOUNDARY_CHARS_MAX).contains(&boundary.len()) {
        let found = if boundary.is_empty() {
            "None"
        } else {
            "too long"
        };
        return Err(Refusal::Multipart(format!(
            "Invalid boundary in multipart: {found}"
        )));
    }
    let limit = config.upload_bytes_max;
    let body_max = limit.saturating_add(config.form_overhead_bytes_max);
    let announced = body.announced();
    if announced.is_some_and(|announced| announced > body_max) {
        return Err(Refusal::FileTooLarge {
            limit,
            actual: announced,
        });
    }
    let room = room.take(announced.unwrap_or(limit).min(limit)).await?;
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(body_max));
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let stream = body.into_stream().inspect_ok(move |data| {
        counter.fetch_add(length(data), Ordering::Relaxed);
    });
    let multipart = Multipart::with_constraints(stream, boundary, constraints);
    let (bytes, crop) = parts(multipart, config).await?;
    // The parser takes preambles, part heads and fields of any size: the whole is bounded above, and the rest here.
    let beside = received
        .load(Ordering::Relaxed)
        .saturating_sub(length(&bytes));
    let beside_max = config.form_overhead_bytes_max;
    if beside > beside_max {
        let sentence = format!("{beside} bytes beside the file, the limit is {beside_max}");
        return Err(Refusal::Multipart(sentence));
    }
    Ok(Form {
        image: Bytes::from_owner(Held { bytes, _room: room }),
        crop,
    })
}

async fn parts(
    mut multipart: Multipart<'static>,
    config: &config::Http,
) -> Result<(Vec<u8>, Option<Crop>), Refusal> {
    let limit = config.upload_bytes_max;
    let mut image = None;
    let mut crop = None;
    let mut count = 0_usize;
    while let Some(field) = multipart
        .next_field()
        .await
        .map_err(|error| refused(error, limit))?
    {
        count = count.saturating_add(1);
        if count > config.form_parts_max {
            return Err(Refusal::Multipart(format!(
                "More than {} parts",
                config.form_parts_max
            )));
        }
        match (field.name(), field.file_name()) {
            (Some("image"), None) => return Err(Refusal::NotAFile),
            // A browser's form with no file chosen.
            (Some("image"), Some("")) => {}
            (Some("image"), Some(_)) if image.is_some() => return Err(Refusal::TwoFiles),
            (Some("image"), Some(_)) => {
                image = Some(file(field, limit).await?);
            }
            (Some("crop"), _) => {
                let text = file(field, config.form_overhead_bytes_max).await?;
                let text = str::from_utf8(&text).map_err(|_| Refusal::Crop(InvalidCrop))?;
                crop = Some(text.trim())
                    .filter(|text| !text.is_empty())
                    .map(str::parse)
                    .transpose()
                    .map_err(Refusal::Crop)?;
            }
            // Fields that a client's other server wanted: ignored, within the bounds on the whole form.
            _ => {
                file(field, config.form_overhead_bytes_max).await?;
            }
        }
    }
    Ok((image.ok_or(Refusal::NoFile)?, crop))
}

/// The content of a part, at most `bytes_max` bytes.
async fn file(mut field: multer::Field<'static>, bytes_max: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(data) = field
        .chunk()
        .await
        .map_err(|error| refused(error, bytes_max))?
    {
        let length = bytes.len().saturating_add(data.len());
        if u64::try_from(length).unwrap_or(u64::MAX) > bytes_max {
            return Err(Refusal::FileTooLarge {
                limit: bytes_max,
                actual: None,
            });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// What the parser's error means for the client.
fn refused(error: multer::Error, limit: u64) -> Refusal {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Refusal>() {
            Ok(refusal) => *refusal,
            Err(_) => Refusal::Incomplete,
        },
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            Refusal::FileTooLarge {
                limit,
                actual: None,
            }
        }
        other => Refusal::Multipart(other.to_string()),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
