//! Conditional requests, and range requests for files that never change: RFC 9110 §13 and §14. Pure.

use std::ops::Range;
use std::time::SystemTime;

use hyper::HeaderMap;
use hyper::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};

/// What a file is compared by.
#[derive(Clone, Debug)]
pub(super) struct Validators {
    /// Strong entity tag, with its quotes.
    pub(super) etag: String,
    /// When the file was made, in whole seconds.
    pub(super) modified: SystemTime,
}

/// Which answer a request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// 200 with all of it.
    Whole,
    /// 206 with these bytes; never empty.
    Part(Range<usize>),
    /// 304: the client has it.
    NotModified,
    /// 412: the client wants another one.
    PreconditionFailed,
    /// 416: no byte of that range is there.
    OutOfRange,
}

/// Judges the conditions in the order of RFC 9110 §13.2.2.
pub(super) fn judge(headers: &HeaderMap, file: &Validators, length: usize) -> Answer {
    if let Some(tags) = Tags::of(headers, &IF_MATCH) {
        if !tags.has(&file.etag) {
            return Answer::PreconditionFailed;
        }
    } else if date(headers, &IF_UNMODIFIED_SINCE).is_some_and(|since| file.modified > since) {
        return Answer::PreconditionFailed;
    }
    if let Some(tags) = Tags::of(headers, &IF_NONE_MATCH) {
        if tags.has_weakly(&file.etag) {
            return Answer::NotModified;
        }
    } else if date(headers, &IF_MODIFIED_SINCE).is_some_and(|since| file.modified <= since) {
        return Answer::NotModified;
    }
    let same = match text(headers, &IF_RANGE) {
        None => true,
        Some(validator) if validator.starts_with('"') => validator == file.etag,
        Some(validator) => {
            httpdate::parse_http_date(validator).is_ok_and(|date| date == file.modified)
        }
    };
    match text(headers, &RANGE) {
        Some(range) if same => part(range, length),
        _ => Answer::Whole,
    }
}

/// What `If-Match` or `If-None-Match` lists, over all its fields: they are one list (RFC 9110 §5.3).
#[derive(Clone, Debug)]
pub(super) struct Tags(String);

impl Tags {
    fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let fields = headers.get_all(name).iter();
        // A tag may have any bytes (RFC 9110 §8.8.3). What is no text is not ours; what stands beside it may be.
        let texts: Vec<_> = fields
            .map(|field| String::from_utf8_lossy(field.as_bytes()))
            .collect();
        (!texts.is_empty()).then(|| Self(texts.join(",")))
    }

    /// Whether any representation will do.
    pub(super) fn is_any(&self) -> bool {
        self.0.trim() == "*"
    }

    /// Whether an entity tag is among them.
    pub(super) fn has(&self, etag: &str) -> bool {
        lists(&self.0, etag, Comparison::Strong)
    }

    /// Whether an entity tag is among them, as a weak one or a strong one.
    pub(super) fn has_weakly(&self, etag: &str) -> bool {
        lists(&self.0, etag, Comparison::Weak)
    }
}

/// What `If-Match` asks for.
pub(super) fn if_match(headers: &HeaderMap) -> Option<Tags> {
    Tags::of(headers, &IF_MATCH)
}

/// What `If-None-Match` asks for.
pub(super) fn if_none_match(headers: &HeaderMap) -> Option<Tags> {
    Tags::of(headers, &IF_NONE_MATCH)
}

/// Whether `If-None-Match` says that the client has this representation.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    if_none_match(headers).is_some_and(|tags| tags.has_weakly(etag))
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags, or `*`, has ours. Our tags hold no comma.
fn lists(tags: &str, etag: &str, comparison: Comparison) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let weak = tag
            .strip_prefix("W/")
            .filter(|_| comparison == Comparison::Weak);
        tag == "*" || weak.unwrap_or(tag) == etag
    })
}

/// One range of bytes. Several, another unit or a malformed one: all of it, as RFC 9110 §14.2 allows.
fn part(range: &str, length: usize) -> Answer {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Answer::Whole;
    };
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Answer::Whole;
    }
    // A number beyond usize is beyond every file.
    let number = |text: &str| text.parse().unwrap_or(usize::MAX);
    let (start, end) = match (first, last) {
        ("", "") => return Answer::Whole,
        ("", count) => (length.saturating_sub(number(count)), length),
        (first, "") => (number(first), length),
        (first, last) if number(first) > number(last) => return Answer::Whole,
        (first, last) => (number(first), number(last).saturating_add(1).min(length)),
    };
    if start < end {
        Answer::Part(start..end)
    } else {
        Answer::OutOfRange
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|field| field.to_str().ok())
        .map(str::trim)
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    text(headers, name).and_then(|field| httpdate::parse_http_date(field).ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::header::HeaderValue;

    use super::*;

    const TAG: &str = "\"abc\"";
    const BEFORE: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
    const AT: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

    fn ask(fields: &[(HeaderName, &'static str)]) -> Answer {
        let fields = fields.iter();
        let headers = fields
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                (name.clone(), value)
            })
            .collect();
        let modified = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(1_000_000_000))
            .unwrap();
        judge(
            &headers,
            &Validators {
                etag: TAG.to_owned(),
                modified,
            },
            100,
        )
    }

    #[test]
    fn client_that_has_the_file_gets_304() {
        for tags in [TAG, "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(ask(&[(IF_NONE_MATCH, tags)]), Answer::NotModified, "{tags}");
        }
        assert_eq!(ask(&[(IF_NONE_MATCH, "\"x\"")]), Answer::Whole);
        assert_eq!(ask(&[(IF_MODIFIED_SINCE, AT)]), Answer::NotModified);
        assert_eq!(ask(&[(IF_MODIFIED_SINCE, BEFORE)]), Answer::Whole);
        assert_eq!(
            ask(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, AT)]),
            Answer::Whole
        );
    }

    #[test]
    fn client_that_wants_another_file_gets_412() {
        assert_eq!(ask(&[(IF_MATCH, "\"x\"")]), Answer::PreconditionFailed);
        assert_eq!(ask(&[(IF_MATCH, "W/\"abc\"")]), Answer::PreconditionFailed);
        assert_eq!(ask(&[(IF_MATCH, TAG)]), Answer::Whole);
        assert_eq!(
            ask(&[(IF_UNMODIFIED_SINCE, BEFORE)]),
            Answer::PreconditionFailed
        );
    }

    #[test]
    fn fields_of_one_name_are_one_list_whatever_stands_in_them() {
        let two = |name: &HeaderName| [(name.clone(), "\"x\""), (name.clone(), "\"y\", \"abc\"")];
        assert_eq!(ask(&two(&IF_NONE_MATCH)), Answer::NotModified);
        assert_eq!(ask(&two(&IF_MATCH)), Answer::Whole);
        let foreign = "\"é\", \"abc\"";
        assert_eq!(ask(&[(IF_NONE_MATCH, foreign)]), Answer::NotModified);
        assert_eq!(ask(&[(IF_MATCH, foreign)]), Answer::Whole);
        // The tag is there, though it is not ours: the date does not count.
        assert_eq!(
            ask(&[(IF_NONE_MATCH, "\"é\""), (IF_MODIFIED_SINCE, AT)]),
            Answer::Whole
        );
        assert_eq!(ask(&[(IF_MATCH, "\"é\"")]), Answer::PreconditionFailed);
    }

    #[test]
    fn one_range_is_cut_to_the_file() {
        assert_eq!(ask(&[(RANGE, "bytes=0-9")]), Answer::Part(0..10));
        assert_eq!(ask(&[(RANGE, "bytes=90-")]), Answer::Part(90..100));
        assert_eq!(ask(&[(RANGE, "bytes=90-999")]), Answer::Part(90..100));
        assert_eq!(ask(&[(RANGE, "bytes=-10")]), Answer::Part(90..100));
        assert_eq!(ask(&[(RANGE, "bytes=-1000")]), Answer::Part(0..100));
        assert_eq!(
            ask(&[(RANGE, "bytes=0-99999999999999999999999")]),
            Answer::Part(0..100)
        );
    }

    #[test]
    fn range_beyond_the_file_gets_416_and_nonsense_the_whole() {
        assert_eq!(ask(&[(RANGE, "bytes=100-")]), Answer::OutOfRange);
        assert_eq!(ask(&[(RANGE, "bytes=-0")]), Answer::OutOfRange);
        for range in [
            "bytes=9-0",
            "bytes=a-b",
            "bytes=0-1,5-6",
            "items=0-1",
            "bytes=-",
            "bytes=+1-2",
        ] {
            assert_eq!(ask(&[(RANGE, range)]), Answer::Whole, "{range}");
        }
    }

    #[test]
    fn range_of_another_version_gets_the_whole() {
        assert_eq!(
            ask(&[(RANGE, "bytes=0-9"), (IF_RANGE, TAG)]),
            Answer::Part(0..10)
        );
        assert_eq!(
            ask(&[(RANGE, "bytes=0-9"), (IF_RANGE, AT)]),
            Answer::Part(0..10)
        );
        assert_eq!(
            ask(&[(RANGE, "bytes=0-9"), (IF_RANGE, "\"x\"")]),
            Answer::Whole
        );
        assert_eq!(
            ask(&[(RANGE, "bytes=0-9"), (IF_RANGE, BEFORE)]),
            Answer::Whole
        );
    }
}
