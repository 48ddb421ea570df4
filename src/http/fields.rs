//! The fields of a form without a picture, as JSON values: `application/x-www-form-urlencoded` or `multipart/form-data`,
//! which Django REST Framework takes beside JSON.
//!
//! Of fields with the same name the last one counts, a file before a text. What is no UTF-8, and what is a file, is no
//! string: it becomes a value that no text field takes, so that nothing is guessed about a password.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use hyper::HeaderMap;
use hyper::header::CONTENT_DISPOSITION;
use multer::Multipart;
use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use crate::http::disposition::{Disposition, Kind};
use crate::http::form;
use crate::http::request::{Refusal, content_type};

/// What is there, but not as a text.
const NO_TEXT: Value = Value::Bool(false);

/// Whether the form is in UTF-8, as those are that say nothing of a charset.
pub(super) fn is_utf8(headers: &HeaderMap) -> bool {
    content_type(headers)
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, charset)| charset.trim().trim_matches('"'))
        .all(|charset| {
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
        })
}

/// Fields joined by `&`. A `%` without two hexadecimal digits stands for itself.
pub(super) fn urlencoded(body: &[u8]) -> Map<String, Value> {
    let mut values = Map::new();
    for pair in body.split(|&byte| byte == b'&') {
        let mut halves = pair.splitn(2, |&byte| byte == b'=');
        let name = decoded(halves.next().unwrap_or_default());
        let value = decoded(halves.next().unwrap_or_default());
        // A name that is no text is not that of any field.
        if let Ok(name) = String::from_utf8(name)
            && !name.is_empty()
        {
            values.insert(name, text(value));
        }
    }
    values
}

/// The parts of a multipart form, at most `parts_max`.
pub(super) async fn multipart(
    headers: &HeaderMap,
    body: Bytes,
    parts_max: usize,
) -> Result<Map<String, Value>, Refusal> {
    let boundary = form::boundary(headers)?;
    let whole = stream::iter([Ok::<_, Infallible>(body)]);
    let mut parts = Multipart::new(whole, boundary);
    let malformed = |error: multer::Error| Refusal::Multipart(error.to_string());
    let mut values = Map::new();
    let mut files = Map::new();
    let mut count = 0_usize;
    while let Some(part) = parts.next_field().await.map_err(malformed)? {
        count = count.saturating_add(1);
        if count > parts_max {
            return Err(form::too_many_parts(parts_max));
        }
        let disposition = part.headers().get(CONTENT_DISPOSITION);
        let disposition = disposition.map_or_else(Disposition::default, |value| {
            Disposition::parse(value.as_bytes())
        });
        let content = part.bytes().await.map_err(malformed)?;
        match disposition.kind {
            Kind::Text => drop(values.insert(disposition.name, text(content.to_vec()))),
            Kind::File => drop(files.insert(disposition.name, NO_TEXT)),
            Kind::NoFile => {}
        }
    }
    values.extend(files);
    Ok(values)
}

fn decoded(half: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = half
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    percent_decode(&spaced).collect()
}

fn text(bytes: Vec<u8>) -> Value {
    String::from_utf8(bytes).map_or(NO_TEXT, Value::String)
}

#[cfg(test)]
mod tests {
    use hyper::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;

    #[test]
    fn urlencoded_is_read_as_django_reads_it() {
        for (body, values) in [
            ("", json!({})),
            ("a=1&b=2", json!({ "a": "1", "b": "2" })),
            ("a=1&a=2", json!({ "a": "2" })),
            ("a&b=&=c&&", json!({ "a": "", "b": "" })),
            ("a=b=c", json!({ "a": "b=c" })),
            ("a+b=c+d%2B%26", json!({ "a b": "c d+&" })),
            ("a=%C3%A9%e2%82%ac", json!({ "a": "é€" })),
            ("a=%&b=%4&c=%zz", json!({ "a": "%", "b": "%4", "c": "%zz" })),
            ("a=%ff&%ff=b", json!({ "a": false })),
            ("a=1;b=2", json!({ "a": "1;b=2" })),
        ] {
            assert_eq!(
                Value::Object(urlencoded(body.as_bytes())),
                values,
                "{body:?}"
            );
        }
    }

    #[test]
    fn only_utf8_is_taken() {
        for (kind, is_fine) in [
            ("application/x-www-form-urlencoded", true),
            ("application/x-www-form-urlencoded; charset=UTF-8", true),
            ("application/x-www-form-urlencoded;Charset=\"utf8\"", true),
            ("application/x-www-form-urlencoded; charset=latin-1", false),
            ("multipart/form-data; boundary=x; charset=utf-16", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_utf8(&headers), is_fine, "{kind}");
        }
    }
}
