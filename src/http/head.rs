//! Judges the head of a request, as strictly as hyper will: with the parser that hyper uses, and its types. Pure.

use std::borrow::Cow;

use hyper::header::{ACCEPT, HeaderName, HeaderValue, ORIGIN};
use hyper::http::uri::Scheme;
use hyper::{Method, Uri};

use crate::http::framing::Violation;

/// Most bytes of a request head. Tokens are below 8 KiB; browsers send 2 KiB of other fields.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1_024;
/// Most fields of a request head.
pub(super) const HEAD_FIELDS_MAX: usize = 64;
/// Longest method that is worth telling of, in bytes.
const METHOD_BYTES_MAX: usize = 20;
/// Stands for a method that is longer, or cannot be read.
const NO_METHOD: &str = "-";
/// Fields that shape an answer, refusals included.
const SHAPING: [HeaderName; 3] = [ACCEPT, ORIGIN, HeaderName::from_static("x-request-id")];

/// Whether a head, or the begin of one, can be that of a request.
pub(super) fn judge(head: &[u8]) -> Result<(), Violation> {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(head).map_err(|error| match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Violation::Field,
        httparse::Error::NewLine => Violation::LineEnd,
        httparse::Error::TooManyHeaders => Violation::TooManyFields {
            limit: HEAD_FIELDS_MAX,
        },
        httparse::Error::Version if names_a_version(head) => Violation::Version,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => {
            Violation::RequestLine
        }
    })?;
    if parsed.is_partial() {
        return Ok(());
    }
    if !request.path.is_some_and(is_target) {
        return Err(Violation::Target);
    }
    let is_encoding = |name: &str| name.eq_ignore_ascii_case("transfer-encoding");
    if request.version == Some(0) && request.headers.iter().any(|field| is_encoding(field.name)) {
        return Err(Violation::OldChunks);
    }
    Ok(())
}

/// Whether it can be asked for. A whole URL must be one of HTTP, and name nobody but a host (RFC 9110 §4.2.4).
fn is_target(text: &str) -> bool {
    Uri::try_from(text).is_ok_and(|target| {
        let is_http = target
            .scheme()
            .is_none_or(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let is_host = target
            .authority()
            .is_none_or(|authority| !authority.as_str().contains('@'));
        is_http && is_host
    })
}

/// What to say of a head that has more bytes than it may have.
pub(super) fn too_large(head: &[u8]) -> Violation {
    let limit = HEAD_BYTES_MAX;
    let begin = head.get(..limit).unwrap_or(head).trim_ascii_start();
    if begin.contains(&b'\n') {
        Violation::HeadTooLarge { limit }
    } else {
        Violation::LineTooLong { limit }
    }
}

/// A head that hyper can parse, in the place of one that it cannot: with the method and the fields that shape an answer
/// as far as they can be read. All that comes behind it is its body.
pub(super) fn substitute(head: &[u8]) -> Vec<u8> {
    let mut lines = head
        .trim_ascii_start()
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    let method = lines
        .next()
        .and_then(method)
        .unwrap_or(Cow::Borrowed(NO_METHOD));
    let mut text = format!("{method} / HTTP/1.1\r\ncontent-length: {}\r\n", u32::MAX).into_bytes();
    for line in lines
        .take_while(|line| !line.is_empty())
        .take(HEAD_FIELDS_MAX)
    {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts
            .next()
            .and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().map(<[u8]>::trim_ascii);
        let value = value.and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value)
            && SHAPING.contains(&name)
            && value.len() < 1_024
        {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn method(line: &[u8]) -> Option<Cow<'_, str>> {
    let word = line.split(|byte| *byte == b' ').next()?;
    let fits = word.len() <= METHOD_BYTES_MAX && Method::from_bytes(word).is_ok();
    fits.then(|| String::from_utf8_lossy(word))
}

/// The method as the log shows it: it may have as many bytes as a head.
pub(super) fn told(method: &Method) -> &str {
    let fits = method.as_str().len() <= METHOD_BYTES_MAX;
    if fits { method.as_str() } else { NO_METHOD }
}

/// Whether the third word of the request line begins like a version.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.trim_ascii_start().split(|byte| *byte == b'\n').next();
    line.and_then(|line| line.split(|byte| *byte == b' ').nth(2))
        .is_some_and(|word| word.starts_with(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_judged_as_hyper_would() {
        let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        let cases: [(&str, Result<(), Violation>); 18] = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(())),
            ("\r\nGET / HTTP/1.0\r\n\r\n", Ok(())),
            ("GET /the begin of", Err(Violation::RequestLine)),
            ("GET /the-begin-of", Ok(())),
            (&fields(HEAD_FIELDS_MAX), Ok(())),
            (
                &fields(HEAD_FIELDS_MAX + 1),
                Err(Violation::TooManyFields { limit: 64 }),
            ),
            ("GET / HTTP/2.0\r\n\r\n", Err(Violation::Version)),
            ("GET /a b HTTP/1.1\r\n\r\n", Err(Violation::RequestLine)),
            ("GET\r\n\r\n", Err(Violation::RequestLine)),
            ("\x16\x03\x01", Err(Violation::RequestLine)),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Err(Violation::Field)),
            ("GET / HTTP/1.1\r\nA: \0\r\n\r\n", Err(Violation::Field)),
            ("GET http:///x HTTP/1.1\r\n\r\n", Err(Violation::Target)),
            ("GET https://a/x HTTP/1.1\r\n\r\n", Ok(())),
            ("GET ftp://a/x HTTP/1.1\r\n\r\n", Err(Violation::Target)),
            ("GET http://b@a/x HTTP/1.1\r\n\r\n", Err(Violation::Target)),
            ("CONNECT a:443 HTTP/1.1\r\n\r\n", Ok(())),
            (
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(Violation::OldChunks),
            ),
        ];
        for (head, verdict) in cases {
            assert_eq!(judge(head.as_bytes()), verdict, "{head:?}");
        }
    }

    #[test]
    fn substitute_is_a_good_head_whatever_was_sent() {
        for head in [
            "",
            "\0",
            "G\0T / HTTP/1.1\r\n",
            "HEAD /\r\nAccept: a\r\n",
            "GET / HTTP/3.0\r\n: b\r\nOrigin: \0\r\n",
        ] {
            let substitute = substitute(head.as_bytes());

            assert_eq!(judge(&substitute), Ok(()), "{head:?}");
            assert!(substitute.ends_with(b"\r\n\r\n"), "{head:?}");
        }
        assert!(substitute(b"HEAD /x\r\nAccept: a\r\n\r\n").starts_with(b"HEAD / "));
        assert!(substitute(b"NONSENSE-THAT-IS-TOO-LONG x").starts_with(b"- / "));
    }
}
