//! Values that are well-formed one by one and still cannot work: out of range, or at odds with each other.

use crate::config::Config;
use crate::config::Secret;

/// A value that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The key, as `section.key`.
    pub key: &'static str,
    /// What is wrong with it, to be read after the key.
    pub sentence: String,
}

/// Shortest HS256 secret, in bytes: as long as the hash. Source: RFC 7518 §3.2.
pub const SECRET_BYTES_MIN: usize = 32;
/// Longest leeway, in seconds. Source: product specification, after OWASP ASVS 5.0 V9.2.1.
const LEEWAY_S_MAX: u64 = 30;
/// Sides that a rendition may have, in pixels.
const SIZE_PX_RANGE: std::ops::RangeInclusive<u16> = 16..=2_048;
/// Longest interval, in seconds.
const YEAR_S: u64 = 365 * 86_400;
/// Most renditions a picture.
const SIZES_MAX: usize = 8;

impl Config {
    /// Everything that cannot work, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        self.http_problems(&mut found);
        self.auth_problems(&mut found);
        self.picture_problems(&mut found);
        self.other_problems(&mut found);
        found
    }

    fn http_problems(&self, found: &mut Vec<Problem>) {
        let http = &self.http;
        let url = http.public_url.as_str();
        if !url.is_empty() && !is_origin_with_path(url) {
            push(
                found,
                "http.public_url",
                format!(
                    "is {url:?}, must begin with http:// or https:// and a host, without ? or #"
                ),
            );
        }
        let positive = [
            (
                "http.connections_max",
                u64::try_from(http.connections_max).unwrap_or(u64::MAX),
            ),
            ("http.head_timeout_ms", http.head_timeout_ms),
            ("http.body_idle_timeout_ms", http.body_idle_timeout_ms),
            ("http.body_timeout_ms", http.body_timeout_ms),
            ("http.write_timeout_ms", http.write_timeout_ms),
            ("http.upload_bytes_max", http.upload_bytes_max),
            ("http.json_bytes_max", http.json_bytes_max),
        ];
        for (key, _) in positive.iter().filter(|(_, value)| *value == 0) {
            push(found, key, "is 0, must be at least 1".to_owned());
        }
        if http.upload_bytes_max > http.bodies_bytes_max {
            push(
                found,
                "http.bodies_bytes_max",
                format!(
                    "is {}, must be at least http.upload_bytes_max, which is {}",
                    http.bodies_bytes_max, http.upload_bytes_max
                ),
            );
        }
        if http.upload_bytes_max > u64::from(u32::MAX) {
            push(
                found,
                "http.upload_bytes_max",
                format!("is {}, must be below 4 GiB", http.upload_bytes_max),
            );
        }
        for origin in &self.cors.origins {
            if origin == "*" && self.cors.origins.len() > 1 {
                push(
                    found,
                    "cors.origins",
                    "has \"*\" beside others, must have it alone".to_owned(),
                );
            } else if origin != "*" && !is_origin(origin) {
                push(
                    found,
                    "cors.origins",
                    format!(
                        "has {origin:?}, must be a scheme, a host and a port only, such as https://app.example.org"
                    ),
                );
            }
        }
    }

    fn auth_problems(&self, found: &mut Vec<Problem>) {
        let auth = &self.auth;
        if auth.secret.is_some() && auth.secret_file.is_some() {
            push(
                found,
                "auth.secret",
                "is set and so is auth.secret_file, must be one of them".to_owned(),
            );
        }
        if let Some(weakness) = auth.secret.as_ref().and_then(Secret::weakness) {
            push(found, "auth.secret", weakness);
        }
        if auth.leeway_s > LEEWAY_S_MAX {
            push(
                found,
                "auth.leeway_s",
                format!("is {}, must be at most {LEEWAY_S_MAX}", auth.leeway_s),
            );
        }
        for (key, value) in [
            ("auth.access_ttl_s", auth.access_ttl_s),
            ("auth.refresh_ttl_s", auth.refresh_ttl_s),
        ] {
            // A century: keeps `now + ttl` far from overflow.
            if value == 0 || value > 3_155_760_000 {
                push(found, key, format!("is {value}, must be 1 to 3155760000"));
            }
        }
        // Argon2 wants 8 KiB a lane at least (RFC 9106 §3.1); the upper ends bound one log-in's cost.
        if !(8..=4_194_304).contains(&auth.argon2_memory_kib) {
            push(
                found,
                "auth.argon2_memory_kib",
                format!("is {}, must be 8 to 4194304", auth.argon2_memory_kib),
            );
        }
        if !(1..=1_000).contains(&auth.argon2_passes) {
            push(
                found,
                "auth.argon2_passes",
                format!("is {}, must be 1 to 1000", auth.argon2_passes),
            );
        }
        if auth.hashes_at_once_max == 0 {
            push(
                found,
                "auth.hashes_at_once_max",
                "is 0, must be at least 1".to_owned(),
            );
        }
    }

    fn picture_problems(&self, found: &mut Vec<Problem>) {
        let picture = &self.picture;
        let sizes = &picture.sizes_px;
        if sizes.is_empty() || sizes.len() > SIZES_MAX {
            push(
                found,
                "picture.sizes_px",
                format!("has {} sizes, must have 1 to {SIZES_MAX}", sizes.len()),
            );
        }
        if let Some(size) = sizes.iter().find(|size| !SIZE_PX_RANGE.contains(size)) {
            push(
                found,
                "picture.sizes_px",
                format!(
                    "has {size}, must be {} to {}",
                    SIZE_PX_RANGE.start(),
                    SIZE_PX_RANGE.end()
                ),
            );
        }
        if !sizes.is_sorted_by(|one, next| one > next) {
            push(
                found,
                "picture.sizes_px",
                "is not in falling order, must be, each size once".to_owned(),
            );
        }
        if !(1..=100).contains(&picture.quality) {
            push(
                found,
                "picture.quality",
                format!("is {}, must be 1 to 100", picture.quality),
            );
        }
        if picture.pixels_max == 0 || picture.pixels_max > 1_000_000_000 {
            push(
                found,
                "picture.pixels_max",
                format!("is {}, must be 1 to 1000000000", picture.pixels_max),
            );
        }
        if picture.side_px_max == 0 {
            push(
                found,
                "picture.side_px_max",
                "is 0, must be at least 1".to_owned(),
            );
        }
    }

    fn other_problems(&self, found: &mut Vec<Problem>) {
        if self.workers.count > 1_024 {
            push(
                found,
                "workers.count",
                format!("is {}, must be at most 1024", self.workers.count),
            );
        }
        if self.workers.queue_max == 0 {
            push(
                found,
                "workers.queue_max",
                "is 0, must be at least 1".to_owned(),
            );
        }
        if self.workers.deadline_ms == 0 {
            push(
                found,
                "workers.deadline_ms",
                "is 0, must be at least 1".to_owned(),
            );
        }
        // Below this not even the binary and its libraries can be mapped.
        if self.workers.memory_bytes_max < 64 * 1_024 * 1_024 {
            let sentence = format!(
                "is {}, must be at least 67108864",
                self.workers.memory_bytes_max
            );
            push(found, "workers.memory_bytes_max", sentence);
        }
        if self.storage.gc_interval_s > YEAR_S {
            let actual = self.storage.gc_interval_s;
            let sentence = format!("is {actual}, must be at most {YEAR_S}");
            push(found, "storage.gc_interval_s", sentence);
        }
        if self.storage.data_dir.as_os_str().is_empty() {
            push(
                found,
                "storage.data_dir",
                "is empty, must name a directory".to_owned(),
            );
        }
        let cache = self.storage.page_cache_bytes;
        // The database cannot work with less; more than a tebibyte is a slip of the hand.
        if !(1 << 20..=1 << 40).contains(&cache) {
            let sentence = format!("is {cache}, must be 1048576 to 1099511627776");
            push(found, "storage.page_cache_bytes", sentence);
        }
    }
}

fn push(found: &mut Vec<Problem>, key: &'static str, sentence: String) {
    found.push(Problem { key, sentence });
}

/// `http://host…` or `https://host…`, printable, without query or fragment.
fn is_origin_with_path(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let printable =
        |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '"' | '<' | '>' | '\\');
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(printable)
    })
}

/// A serialised origin (RFC 6454 §6.1): scheme, host, port, and nothing behind it.
fn is_origin(text: &str) -> bool {
    is_origin_with_path(text)
        && text
            .split_once("://")
            .is_some_and(|(_, rest)| !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        config
            .problems()
            .into_iter()
            .map(|problem| problem.key)
            .collect()
    }

    #[test]
    fn defaults_have_no_problem() {
        assert_eq!(Config::default().problems(), []);
    }

    #[test]
    fn secret_that_others_know_or_guess_is_refused() {
        let weak = [
            "short",
            "a-string-secret-at-least-256-bits-long",
            "A-String-Secret-At-Least-256-Bits-Long",
            "changemechangemechangemechangeme",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "123456789012345678901234567890123",
        ];
        for secret in weak {
            let secret = Secret::from(secret.to_owned());
            let found = keys(|config| config.auth.secret = Some(secret.clone()));
            assert_eq!(found, ["auth.secret"], "{}", secret.expose());
        }
        let good = Secret::from("djH2-0x8s!kd92mmc0=w83hd&ns82hs0".to_owned());
        assert_eq!(good.weakness(), None);
    }

    #[test]
    fn each_value_out_of_range_is_named() {
        for cache in [0, 1, u64::MAX] {
            let found = keys(|config| config.storage.page_cache_bytes = cache);
            assert_eq!(found, ["storage.page_cache_bytes"]);
        }
        assert_eq!(
            keys(|config| config.picture.side_px_max = 0),
            ["picture.side_px_max"]
        );
        assert_eq!(
            keys(|config| config.http.public_url = "example.org".to_owned()),
            ["http.public_url"]
        );
        assert_eq!(
            keys(|config| config.http.upload_bytes_max = 0),
            ["http.upload_bytes_max"]
        );
        assert_eq!(
            keys(|config| config.http.bodies_bytes_max = 1),
            ["http.bodies_bytes_max"]
        );
        assert_eq!(
            keys(|config| config.cors.origins = vec!["https://a.org/".to_owned()]),
            ["cors.origins"]
        );
        assert_eq!(
            keys(|config| config.cors.origins = vec!["*".to_owned(), "https://a.org".to_owned()]),
            ["cors.origins"]
        );
        assert_eq!(keys(|config| config.auth.leeway_s = 31), ["auth.leeway_s"]);
        assert_eq!(
            keys(|config| config.auth.access_ttl_s = 0),
            ["auth.access_ttl_s"]
        );
        assert_eq!(
            keys(|config| config.picture.sizes_px = vec![]),
            ["picture.sizes_px"]
        );
        assert_eq!(
            keys(|config| config.picture.sizes_px = vec![128, 512]),
            ["picture.sizes_px"]
        );
        assert_eq!(
            keys(|config| config.picture.sizes_px = vec![4_096]),
            ["picture.sizes_px"]
        );
        assert_eq!(
            keys(|config| config.picture.quality = 0),
            ["picture.quality"]
        );
        assert_eq!(
            keys(|config| config.storage.gc_interval_s = u64::MAX),
            ["storage.gc_interval_s"]
        );
        assert_eq!(
            keys(|config| config.workers.queue_max = 0),
            ["workers.queue_max"]
        );
    }

    #[test]
    fn secret_is_long_enough_and_comes_from_one_place() {
        assert_eq!(
            keys(|config| config.auth.secret = Some("x".repeat(31).into())),
            ["auth.secret"]
        );
        assert_eq!(
            keys(|config| config.auth.secret =
                Some("djH2-0x8s!kd92mmc0=w83hd&ns82hs0".to_owned().into())),
            Vec::<&str>::new()
        );
        let both = keys(|config| {
            config.auth.secret = Some("djH2-0x8s!kd92mmc0=w83hd&ns82hs0".to_owned().into());
            config.auth.secret_file = Some("secret".into());
        });
        assert_eq!(both, ["auth.secret"]);
    }
}
