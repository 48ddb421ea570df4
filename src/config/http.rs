//! The sections of the listener: `[http]` and `[cors]`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::validate;
use crate::config::validate::{Problem, is_origin_with_path, push};
use crate::domain::network::Network;

/// What any client's form has beside the file, in bytes: two boundaries of 70 characters, the head of a part with a long
/// file name.
const OVERHEAD_BYTES_MIN: u64 = 1_024;

/// The header field in which proxies say whom they speak for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// Its name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// `[http]`: the listener and its limits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port to listen on. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Begin of the URLs in answers, such as `https://pictures.example.org`; empty: `http://`, with `[tls]` `https://`, and the request's Host.
    pub public_url: String,
    /// Connections served at once; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// Time to receive a complete request head, in milliseconds. Also the longest idle time of a kept connection.
    pub head_timeout_ms: u64,
    /// Longest time without a byte of the body, in milliseconds.
    pub body_idle_timeout_ms: u64,
    /// Time to receive a whole body, in milliseconds.
    pub body_timeout_ms: u64,
    /// Slowest that a body may arrive once it has begun and `body_rate_grace_ms` are over, in bytes a second.
    pub body_rate_bytes_min: u64,
    /// Time before the rate of a body is judged, in milliseconds.
    pub body_rate_grace_ms: u64,
    /// Longest time that a client may take nothing of an answer, in milliseconds.
    pub write_timeout_ms: u64,
    /// Largest picture file that is accepted, in bytes.
    pub upload_bytes_max: u64,
    /// Everything in an upload's form that is not the file, in bytes: boundaries, part heads, other fields.
    pub form_overhead_bytes_max: u64,
    /// Parts of an upload's form.
    pub form_parts_max: usize,
    /// Upload bodies held in memory at once, in bytes over all requests; one user has a quarter of it, or `upload_bytes_max`
    /// if that is more. What does not fit is answered with 503. When others need it, a body that comes by less than 32 KiB
    /// in a second loses its room, and its sender gets 408.
    pub bodies_bytes_max: u64,
    /// How long an upload waits for room among them before its 503, in milliseconds.
    pub bodies_wait_ms: u64,
    /// Proxies that are believed whom they speak for, such as `["127.0.0.1", "10.0.0.0/8"]`. Counted from the right: the
    /// client is the last address that is none of them.
    pub trusted_proxies: Vec<Network>,
    /// Where these proxies write it: `x-forwarded-for`, or `forwarded` (RFC 7239). The other one is not looked at: a client can write it.
    pub forwarded_header: ForwardedHeader,
    /// How long an upload with an `Idempotency-Key` is remembered, in seconds; 0: keys are ignored.
    pub idempotency_ttl_s: u64,
    /// Answers to such uploads kept in memory at most; beyond that many, the oldest go. The store remembers the newest 8
    /// keys of each user beside that, also after a restart.
    pub idempotency_keys_max: usize,
    /// Largest JSON body, in bytes.
    pub json_bytes_max: u64,
    /// Bodies without a picture held in memory at once, in bytes over all requests. What does not fit is answered with 503.
    pub fields_bytes_max: u64,
    /// After a refusal: how much of a body that still arrives is read and dropped, in bytes, so that the client
    /// gets to read the answer.
    pub drain_bytes_max: u64,
    /// After a refusal: how long such a rest is read, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Time for running requests to end after a stop signal, in milliseconds.
    pub shutdown_timeout_ms: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: String::new(),
            connections_max: 8_192,
            head_timeout_ms: 10_000,
            body_idle_timeout_ms: 10_000,
            body_timeout_ms: 60_000,
            body_rate_bytes_min: 1_024,
            body_rate_grace_ms: 5_000,
            write_timeout_ms: 30_000,
            upload_bytes_max: 5 * 1_024 * 1_024,
            form_overhead_bytes_max: 64 * 1_024,
            form_parts_max: 16,
            bodies_bytes_max: 96 * 1_024 * 1_024,
            bodies_wait_ms: 10_000,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            idempotency_ttl_s: 600,
            idempotency_keys_max: 10_000,
            json_bytes_max: 16 * 1_024,
            fields_bytes_max: 32 * 1_024 * 1_024,
            drain_bytes_max: 16 * 1_024 * 1_024,
            drain_timeout_ms: 5_000,
            shutdown_timeout_ms: 10_000,
        }
    }
}

impl Http {
    /// What of it cannot work.
    pub(super) fn problems(&self, found: &mut Vec<Problem>) {
        let url = self.public_url.as_str();
        if !url.is_empty() && !is_origin_with_path(url) {
            push(
                found,
                "http.public_url",
                format!(
                    "is {url:?}, must begin with http:// or https:// and a host, without ? or #"
                ),
            );
        }
        for network in self.trusted_proxies.iter().filter(|proxy| proxy.is_all()) {
            let network = String::from(*network);
            push(
                found,
                "http.trusted_proxies",
                format!("has {network:?}, which is everybody, must have the addresses of proxies"),
            );
        }
        let positive = [
            (
                "http.connections_max",
                u64::try_from(self.connections_max).unwrap_or(u64::MAX),
            ),
            ("http.head_timeout_ms", self.head_timeout_ms),
            ("http.body_idle_timeout_ms", self.body_idle_timeout_ms),
            ("http.body_timeout_ms", self.body_timeout_ms),
            ("http.write_timeout_ms", self.write_timeout_ms),
            ("http.upload_bytes_max", self.upload_bytes_max),
            ("http.json_bytes_max", self.json_bytes_max),
            (
                "http.form_parts_max",
                u64::try_from(self.form_parts_max).unwrap_or(u64::MAX),
            ),
        ];
        for (key, _) in positive.iter().filter(|(_, value)| *value == 0) {
            push(found, key, "is 0, must be at least 1".to_owned());
        }
        if self.form_overhead_bytes_max < OVERHEAD_BYTES_MIN {
            let actual = self.form_overhead_bytes_max;
            let sentence = format!("is {actual}, must be at least {OVERHEAD_BYTES_MIN}");
            push(found, "http.form_overhead_bytes_max", sentence);
        }
        if self.upload_bytes_max > self.bodies_bytes_max {
            push(
                found,
                "http.bodies_bytes_max",
                format!(
                    "is {}, must be at least http.upload_bytes_max, which is {}",
                    self.bodies_bytes_max, self.upload_bytes_max
                ),
            );
        }
        if self.json_bytes_max > self.fields_bytes_max {
            push(
                found,
                "http.fields_bytes_max",
                format!(
                    "is {}, must be at least http.json_bytes_max, which is {}",
                    self.fields_bytes_max, self.json_bytes_max
                ),
            );
        }
        if self.upload_bytes_max > u64::from(u32::MAX) {
            push(
                found,
                "http.upload_bytes_max",
                format!("is {}, must be below 4 GiB", self.upload_bytes_max),
            );
        }
    }
}

/// `[cors]`: which web pages may call the API.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Allowed origins as browsers send them, such as `https://app.example.org` or `capacitor://localhost`; `["*"]` allows
    /// every page.
    pub origins: Vec<String>,
    /// Time that a browser may remember what it was allowed, in seconds. Chromium takes 7200 at most.
    pub max_age_s: u32,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            max_age_s: 7_200,
        }
    }
}

impl Cors {
    /// What of it cannot work.
    pub(super) fn problems(&self, found: &mut Vec<Problem>) {
        for origin in &self.origins {
            if origin == "*" {
                if self.origins.len() > 1 {
                    let sentence = "has \"*\" beside others, must have it alone";
                    push(found, "cors.origins", sentence.to_owned());
                }
                continue;
            }
            match validate::origin(origin) {
                Some(sent) if sent == *origin => {}
                Some(sent) => push(
                    found,
                    "cors.origins",
                    format!("has {origin:?}, must be {sent:?}, as browsers send it"),
                ),
                None => push(
                    found,
                    "cors.origins",
                    format!(
                        "has {origin:?}, must be a scheme, a host and a port only, such as https://app.example.org"
                    ),
                ),
            }
        }
    }
}
