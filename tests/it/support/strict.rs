//! Rules that every answer keeps, whatever was asked: known header fields only, a length, a type, no sniffing, and
//! what each status promises.

use super::Reply;

/// Every field that an answer may have. Another one is a leak or a mistake until someone adds it here.
const ALLOWED: [&str; 28] = [
    "accept-ranges",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "date",
    "etag",
    "last-modified",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "referrer-policy",
    "retry-after",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
    "x-robots-tag",
];

/// Fields that a file has beside the others.
const OF_FILES: [(&str, &str); 4] = [
    ("content-security-policy", "default-src 'none'; sandbox"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("referrer-policy", "no-referrer"),
    ("accept-ranges", "bytes"),
];

pub fn check(method: &str, reply: &Reply) {
    let status = reply.status;
    assert!(
        !(500..=599).contains(&status) || matches!(status, 503 | 505 | 507),
        "{status}: {}",
        reply.text()
    );
    check_fields(reply);
    assert!(reply.field("date").is_some(), "no date");
    if !matches!(status, 204 | 304) {
        assert!(reply.field("content-length").is_some(), "no length");
    }
    if !reply.body.is_empty() {
        check_type(reply);
    }
    let promised = match status {
        401 => Some(("www-authenticate", Some("Bearer realm=\"api\""))),
        405 => Some(("allow", None)),
        206 | 416 => Some(("content-range", None)),
        429 | 503 => Some(("retry-after", None)),
        _ => None,
    };
    if let Some((name, value)) = promised {
        let found = reply.field(name);
        assert!(found.is_some(), "{status} without {name}");
        assert!(value.is_none() || value == found, "{name}: {found:?}");
    }
    if method == "HEAD" {
        assert!(reply.body.is_empty());
    }
}

/// What holds for every answer, also for one that no test looks at closely.
pub fn check_fields(reply: &Reply) {
    let status = reply.status;
    for (name, value) in &reply.fields {
        assert!(
            ALLOWED.contains(&name.as_str()),
            "unexpected field {name}: {value}"
        );
        let times = reply.fields.iter().filter(|(other, _)| other == name);
        assert!(times.count() == 1 || name == "vary", "{name} stands twice");
    }
    assert_eq!(
        reply.field("x-content-type-options"),
        Some("nosniff"),
        "{status} {:?}",
        reply.fields
    );
}

fn check_type(reply: &Reply) {
    let kind = reply.field("content-type").unwrap_or_default();
    match kind {
        "application/json" | "application/problem+json" => {
            let value = reply.json();
            assert!(value.is_object(), "{value}");
            if reply.status >= 400 {
                assert_eq!(reply.field("cache-control"), Some("no-store"));
            }
        }
        "image/jpeg" => {
            for (name, value) in OF_FILES {
                assert_eq!(reply.field(name), Some(value), "{name}");
            }
        }
        // Metrics, for Prometheus.
        "text/plain; version=0.0.4; charset=utf-8" => assert_eq!(reply.status, 200),
        other => panic!("{} has type {other:?}", reply.status),
    }
}
