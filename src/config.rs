//! Every limit and every default, as plain data. Reads one file and the environment, nothing else.
//!
//! Order, the later wins: the defaults below, `pockit.toml`, `POCKIT_SECTION__KEY` in the environment, flags.
//! An unknown key, a value of the wrong kind or a pair of values that cannot work together stops the program.

mod load;
mod validate;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::picture::Color;
use crate::domain::picture::Fit;

pub use load::{Error, Sources, load};
pub use validate::Problem;
pub use validate::SECRET_BYTES_MIN;

/// The whole configuration, one field a section of `pockit.toml`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[http]`: the listener and its limits.
    pub http: Http,
    /// `[cors]`: which web pages may call the API.
    pub cors: Cors,
    /// `[auth]`: tokens and local accounts.
    pub auth: Auth,
    /// `[rate_limit]`: how often a user may do what.
    pub rate_limit: RateLimit,
    /// `[picture]`: what is accepted and what is made of it.
    pub picture: Picture,
    /// `[workers]`: where pictures are decoded.
    pub workers: Workers,
    /// `[storage]`: where everything is kept.
    pub storage: Storage,
    /// `[metrics]`: what is counted, for Prometheus.
    pub metrics: Metrics,
}

/// `[http]`: the listener and its limits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port to listen on. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Begin of the URLs in answers, such as `https://pictures.example.org`; empty: `http://` and the request's Host.
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
    /// Upload bodies held in memory at once, in bytes over all requests; one user has a quarter of it. What does not fit is answered with 503.
    pub bodies_bytes_max: u64,
    /// How long an upload waits for room among them before its 503, in milliseconds.
    pub bodies_wait_ms: u64,
    /// Largest JSON body, in bytes.
    pub json_bytes_max: u64,
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
            json_bytes_max: 16 * 1_024,
            drain_bytes_max: 16 * 1_024 * 1_024,
            drain_timeout_ms: 5_000,
            shutdown_timeout_ms: 10_000,
        }
    }
}

/// `[cors]`: which web pages may call the API.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Allowed origins, such as `https://app.example.org`; `["*"]` allows every page.
    pub origins: Vec<String>,
}

/// `[auth]`: tokens and local accounts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// HS256 secret that signs and verifies tokens, 32 bytes or more. Better in the environment or a file than here.
    pub secret: Option<Secret>,
    /// File that holds the secret. Without either, a key is made in the data directory at the first start.
    pub secret_file: Option<PathBuf>,
    /// Whether accounts live here: register, log in and refresh. Off: tokens come from elsewhere.
    pub local_accounts: bool,
    /// Life of an access token, in seconds. Source: simplejwt's `ACCESS_TOKEN_LIFETIME`, 5 minutes.
    pub access_ttl_s: u64,
    /// Life of a refresh token, in seconds. Source: simplejwt's `REFRESH_TOKEN_LIFETIME`, 1 day.
    pub refresh_ttl_s: u64,
    /// Clock difference that `exp` and `nbf` forgive, in seconds, at most 30.
    pub leeway_s: u64,
    /// Memory of one password hash, in KiB. Source: OWASP Password Storage, Argon2id with 19 MiB, 2 passes, 1 lane.
    pub argon2_memory_kib: u32,
    /// Passes of one password hash.
    pub argon2_passes: u32,
    /// Password hashes computed at once; further log-ins wait.
    pub hashes_at_once_max: usize,
    /// Passwords that may wait for that; more are answered with 503.
    pub hashes_waiting_max: usize,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secret: None,
            secret_file: None,
            local_accounts: true,
            access_ttl_s: 300,
            refresh_ttl_s: 86_400,
            leeway_s: 0,
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            hashes_at_once_max: 2,
            hashes_waiting_max: 32,
        }
    }
}

/// `[rate_limit]`: how often a user may do what.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Picture uploads a user and hour; 0: no limit.
    pub uploads_per_hour: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            uploads_per_hour: 30,
        }
    }
}

/// `[picture]`: what is accepted and what is made of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Picture {
    /// Sides of the renditions, in pixels, largest first. The first is the picture, the last the thumbnail.
    pub sizes_px: Vec<u16>,
    /// What happens to a picture that is not square: `cover` cuts off what lies outside the largest square around the
    /// centre, `pad` keeps all of it between bars of the background, `inside` keeps all of it and adds nothing.
    pub fit: Fit,
    /// Colour under transparent pixels and of the bars of `pad`.
    pub background: Color,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Whether the renditions are progressive JPEGs.
    pub progressive: bool,
    /// Most pixels that an upload may have, judged by its header before anything is decoded.
    pub pixels_max: u64,
    /// Longest side that an upload may have, in pixels, judged like its pixels.
    pub side_px_max: u32,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            sizes_px: vec![512, 128],
            fit: Fit::Cover,
            background: Color::WHITE,
            quality: 85,
            progressive: false,
            pixels_max: 64_000_000,
            side_px_max: 65_535,
        }
    }
}

/// `[workers]`: where pictures are decoded.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// Pictures decoded at once; 0: as many as there are processor cores.
    pub count: usize,
    /// Pictures that may wait for a free worker; more are answered with 503.
    pub queue_max: usize,
    /// Longest time for one picture, in milliseconds. Then its worker is killed.
    pub deadline_ms: u64,
    /// Address space of a worker, in bytes.
    pub memory_bytes_max: u64,
    /// Whether the server refuses to start where workers cannot be locked in with seccomp.
    pub require_sandbox: bool,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            count: 0,
            queue_max: 64,
            deadline_ms: 10_000,
            memory_bytes_max: 1_024 * 1_024 * 1_024,
            require_sandbox: true,
        }
    }
}

/// `[storage]`: where everything is kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Directory of the database, the lock and the signing key. Made if it is missing.
    pub data_dir: PathBuf,
    /// Memory that the database's own page cache aims at, in bytes. It takes several times as much.
    pub page_cache_bytes: u64,
    /// Memory for recently served renditions, in bytes.
    pub rendition_cache_bytes: u64,
    /// Disk space that is kept free, in bytes: writes that would go below it are answered with 507.
    pub free_bytes_min: u64,
    /// How often a server looks for pictures that no profile points at and removes them, in seconds, give or take a
    /// tenth; 0: never.
    pub gc_interval_s: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            page_cache_bytes: 16 * 1_024 * 1_024,
            rendition_cache_bytes: 32 * 1_024 * 1_024,
            free_bytes_min: 128 * 1_024 * 1_024,
            gc_interval_s: 86_400,
        }
    }
}

/// `[metrics]`: what is counted, for Prometheus.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address and port of `GET /metrics`, apart from the API's. Without it nothing listens.
    pub listen: Option<SocketAddr>,
}

/// Secrets of documentation and examples that are long enough and known to everybody.
const SECRETS_KNOWN: [&str; 3] = [
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "at least 32 bytes, better random",
];

/// A text that is never printed.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub struct Secret(String);

impl Secret {
    /// The text itself. Whoever calls this keeps it out of logs and answers.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Why nobody should sign with it, if there is a reason.
    #[must_use]
    pub fn weakness(&self) -> Option<String> {
        let bytes = self.0.as_bytes();
        let length = bytes.len();
        if length < SECRET_BYTES_MIN {
            return Some(format!(
                "has {length} bytes, must have at least {SECRET_BYTES_MIN}"
            ));
        }
        let repeats = (1..=length / 2).any(|period| {
            let shifted = bytes.iter().skip(period);
            shifted.zip(bytes).all(|(later, earlier)| later == earlier)
        });
        if repeats {
            return Some("repeats itself, must be random".to_owned());
        }
        let known = SECRETS_KNOWN.contains(&self.0.to_ascii_lowercase().as_str());
        known.then(|| "is known to everybody, must be random".to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}
