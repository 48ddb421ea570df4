//! What a request says in its head and in a body of fields, and why it is refused when it says it wrongly.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use serde_json::{Map, Value, json};

use crate::config;
use crate::domain::picture::InvalidCrop;
use crate::domain::user::Invalid;
use crate::http::body::Body;
use crate::http::fields;
use crate::http::framing::Violation;

/// Longest `Idempotency-Key`, in characters: each that is remembered takes as much memory.
pub(super) const KEY_CHARS_MAX: usize = 255;

/// Why a request is refused before a use case sees it.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no bearer token")]
    NoCredentials,
    #[error("the Authorization header is not two words")]
    BadAuthorization,
    #[error("not exactly one Host header")]
    Host,
    #[error("media type {0:?} is not what this route takes")]
    MediaType(String),
    #[error("the multipart form is malformed: {0}")]
    Multipart(String),
    #[error("the multipart form has too much: {sentence}")]
    MultipartTooLarge {
        sentence: String,
        limit: u64,
        actual: Option<u64>,
    },
    #[error("the JSON is malformed: {0}")]
    Json(String),
    #[error("the JSON is {0}, not an object")]
    NotAnObject(&'static str),
    #[error("the JSON is null")]
    NoData,
    #[error("fields are missing or of the wrong type")]
    Fields(Map<String, Value>),
    #[error("the form has no file")]
    NoFile,
    #[error("the form's image is not a file")]
    NotAFile,
    #[error("the form has more than one image")]
    TwoFiles,
    #[error("the crop is not acceptable")]
    Crop(#[source] InvalidCrop),
    #[error("the file has more than {limit} bytes")]
    FileTooLarge { limit: u64, actual: Option<u64> },
    #[error("the body has more than {limit} bytes")]
    BodyTooLarge { limit: u64, actual: Option<u64> },
    #[error("the body did not arrive within {limit_ms} ms")]
    Slow { limit_ms: u64 },
    #[error("the body arrives at {actual} bytes a second, {limit} are the least")]
    TooSlow { limit: u64, actual: u64 },
    #[error("the message is malformed or ambiguous")]
    Framing(#[source] Violation),
    #[error("the head has {actual} fields, the limit is {limit}")]
    TooManyFields { limit: usize, actual: usize },
    #[error("the body broke off")]
    Incomplete,
    #[error("the Idempotency-Key is not acceptable")]
    IdempotencyKey { too_long: Option<usize> },
    #[error("there is no room for another body")]
    BodiesFull,
}

impl Refusal {
    /// Stable name for programs.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::NoCredentials => "not_authenticated",
            Self::BadAuthorization => "bad_authorization_header",
            Self::Host => "bad_host",
            Self::MediaType(_) => "unsupported_media_type",
            Self::Multipart(_) | Self::MultipartTooLarge { .. } => "bad_multipart",
            Self::Json(_) => "bad_json",
            Self::NotAnObject(_) | Self::NoData | Self::Fields(_) => "invalid",
            Self::NoFile => "missing_file",
            Self::NotAFile => "not_a_file",
            Self::TwoFiles => "duplicate_field",
            Self::Crop(_) => "bad_crop",
            Self::FileTooLarge { .. } => "too_many_bytes",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::Slow { .. } | Self::TooSlow { .. } => "timeout",
            Self::Framing(violation) => violation.code(),
            Self::TooManyFields { .. } => "head_too_large",
            Self::Incomplete => "incomplete_body",
            Self::IdempotencyKey { .. } => "bad_idempotency_key",
            Self::BodiesFull => "busy",
        }
    }
}

/// The bearer token, read as simplejwt does: another scheme is no credentials, the scheme's case counts.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = fields.next().ok_or(Refusal::NoCredentials)?;
    if fields.next().is_some() {
        return Err(Refusal::BadAuthorization);
    }
    let mut words = field
        .as_bytes()
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    if words.next() != Some(b"Bearer") {
        return Err(Refusal::NoCredentials);
    }
    match (words.next(), words.next()) {
        // What is no text is no token, either.
        (Some(token), None) => Ok(str::from_utf8(token).unwrap_or_default()),
        _ => Err(Refusal::BadAuthorization),
    }
}

/// The host that the client believes to talk to. Exactly one, as RFC 9112 §3.2 asks.
pub(super) fn host(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut fields = headers.get_all(HOST).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(Refusal::Host);
    };
    let host = field.to_str().map_err(|_| Refusal::Host)?;
    // It is written into the URLs of answers: nothing that could end a URL's authority or a JSON string.
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%' | '~')
    };
    if host.is_empty() || !host.chars().all(plain) {
        Err(Refusal::Host)
    } else {
        Ok(host)
    }
}

/// The `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a text in quotes. Without quotes it is taken as
/// it stands, as many clients send it.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut fields = headers.get_all("idempotency-key").iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    let refusal = Refusal::IdempotencyKey { too_long: None };
    let text = field.to_str().map_err(|_| refusal.clone())?.trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    if key.len() > KEY_CHARS_MAX {
        return Err(Refusal::IdempotencyKey {
            too_long: Some(key.len()),
        });
    }
    let is_fine = !key.is_empty()
        && key
            .bytes()
            .all(|c| c.is_ascii_graphic() && c != b'"' && c != b'\\');
    if is_fine && fields.next().is_none() {
        Ok(Some(key.to_owned()))
    } else {
        Err(refusal)
    }
}

/// Whether the client would rather have RFC 9457 problems than the API's own error bodies.
pub(super) fn wants_problem(headers: &HeaderMap) -> bool {
    let fields = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        // A weight of nothing is a no (RFC 9110 §12.4.2).
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let is_refused = weight.is_some_and(|weight| weight.trim().parse() == Ok(0.0_f32));
        kind.eq_ignore_ascii_case("application/problem+json") && !is_refused
    })
}

/// The `Content-Type` as it stands; empty without one.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(CONTENT_TYPE)
        .and_then(|field| field.to_str().ok())
        .unwrap_or_default()
}

/// The media type without its parameters, in lower case; empty without one.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    content_type(headers)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// The fields of a JSON object or of a form, each asked for by name; what is wrong with any is told for all at once.
#[derive(Debug)]
pub(super) struct Fields {
    values: Map<String, Value>,
    errors: Map<String, Value>,
    /// A form cannot leave out what its reader left empty.
    is_form: bool,
}

impl Fields {
    /// Reads a body within the bounds on JSON, which hold for forms, too.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: Body,
        config: &config::Http,
    ) -> Result<Self, Refusal> {
        let bytes_max = config.json_bytes_max;
        let parts_max = config.form_parts_max;
        let (values, is_form) = match media_type(headers).as_str() {
            "application/json" => (object(&body.collect(bytes_max).await?)?, false),
            "application/x-www-form-urlencoded" if fields::is_utf8(headers) => {
                (fields::urlencoded(&body.collect(bytes_max).await?), true)
            }
            "multipart/form-data" if fields::is_utf8(headers) => {
                let bytes = body.collect(bytes_max).await?;
                (fields::multipart(headers, bytes, parts_max).await?, true)
            }
            _ => return Err(Refusal::MediaType(content_type(headers).to_owned())),
        };
        Ok(Self {
            values,
            errors: Map::new(),
            is_form,
        })
    }

    /// A text that must be there. DRF's sentences for `CharField`.
    pub(super) fn required(&mut self, name: &'static str) -> Option<String> {
        if !self.values.contains_key(name) {
            self.reject(name, "This field is required.");
            return None;
        }
        self.changed(name)
    }

    /// A text that may be left out, but not be null; in a form, to leave it empty is to leave it out.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        if self.is_form && self.values.get(name).is_some_and(|value| value == "") {
            return None;
        }
        self.changed(name)
    }

    /// A text that is left out to stay as it is.
    pub(super) fn changed(&mut self, name: &'static str) -> Option<String> {
        match self.values.remove(name)? {
            Value::String(text) if text.is_empty() => {
                self.reject(name, "This field may not be blank.");
            }
            Value::String(text) => return Some(text),
            Value::Null => self.reject(name, "This field may not be null."),
            _ => self.reject(name, "Not a valid string."),
        }
        None
    }

    /// Parses a text that is there; remembers why it cannot be.
    pub(super) fn parsed<T: std::str::FromStr<Err = Invalid>>(
        &mut self,
        name: &'static str,
        text: Option<String>,
    ) -> Option<T> {
        match text?.parse() {
            Ok(value) => Some(value),
            Err(reason) => {
                self.reject(name, &reason.to_string());
                None
            }
        }
    }

    /// Ok if nothing was wrong with any field.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Fields(self.errors))
        }
    }

    fn reject(&mut self, name: &'static str, sentence: &str) {
        self.errors.insert(name.to_owned(), json!([sentence]));
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(bytes).map_err(|error| Refusal::Json(error.to_string()))? {
        Value::Object(values) => Ok(values),
        Value::Array(_) => Err(Refusal::NotAnObject("list")),
        Value::String(_) => Err(Refusal::NotAnObject("str")),
        Value::Number(number) if number.is_f64() => Err(Refusal::NotAnObject("float")),
        Value::Number(_) => Err(Refusal::NotAnObject("int")),
        Value::Bool(_) => Err(Refusal::NotAnObject("bool")),
        Value::Null => Err(Refusal::NoData),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn with(name: &hyper::header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn bearer_token_is_read_as_simplejwt_reads_it() {
        let code = |values: &[&str]| {
            bearer(&with(&AUTHORIZATION, values))
                .map_err(|refusal| refusal.code())
                .map(str::to_owned)
        };

        assert_eq!(code(&["Bearer abc"]), Ok("abc".to_owned()));
        assert_eq!(code(&["Bearer   abc "]), Ok("abc".to_owned()));
        assert_eq!(code(&[]), Err("not_authenticated"));
        assert_eq!(code(&[""]), Err("not_authenticated"));
        assert_eq!(code(&["bearer abc"]), Err("not_authenticated"));
        assert_eq!(code(&["Basic abc"]), Err("not_authenticated"));
        assert_eq!(code(&["Bearer"]), Err("bad_authorization_header"));
        assert_eq!(code(&["Bearer a b"]), Err("bad_authorization_header"));
        assert_eq!(
            code(&["Bearer a", "Bearer b"]),
            Err("bad_authorization_header")
        );
    }

    #[test]
    fn host_is_one_and_harmless() {
        let ok = |values: &[&str]| host(&with(&HOST, values)).is_ok();

        assert!(ok(&["example.org"]) && ok(&["127.0.0.1:8080"]) && ok(&["[::1]:8080"]));
        assert!(
            !ok(&[])
                && !ok(&[""])
                && !ok(&["a", "b"])
                && !ok(&["a/b"])
                && !ok(&["a\"b"])
                && !ok(&["user@host"])
        );
    }

    #[test]
    fn idempotency_key_is_one_text_with_or_without_quotes() {
        let name = hyper::header::HeaderName::from_static("idempotency-key");
        let key = |values: &[&str]| idempotency_key(&with(&name, values)).ok();

        assert_eq!(key(&[]), Some(None));
        assert_eq!(key(&["\"a-1\""]), Some(Some("a-1".to_owned())));
        assert_eq!(key(&["a-1"]), key(&["\"a-1\""]));
        for wrong in ["", "\"\"", "\"a", "a b", "a\\b", &"x".repeat(256)] {
            assert_eq!(key(&[wrong]), None, "{wrong}");
        }
        assert_eq!(key(&["a", "a"]), None);
    }

    #[test]
    fn problem_json_is_sent_to_those_who_accept_it() {
        let wants = |accept: &str| wants_problem(&with(&ACCEPT, &[accept]));

        assert!(
            wants("application/problem+json") && wants("text/html, Application/Problem+JSON;q=0.9")
        );
        assert!(
            !wants("application/json") && !wants("*/*") && !wants("application/problem+json;q=0")
        );
    }
}
