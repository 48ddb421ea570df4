//! Values that are well-formed one by one and still cannot work: out of range, or at odds with each other.

use crate::config::Config;

/// A value that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The key, as `section.key`.
    pub key: &'static str,
    /// What is wrong with it, to be read after the key.
    pub sentence: String,
}

impl Config {
    /// Everything that cannot work, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        self.http.problems(&mut found);
        self.tls.problems(&mut found);
        self.cors.problems(&mut found);
        self.auth.problems(&mut found);
        self.picture.problems(&mut found);
        self.workers.problems(&mut found);
        self.storage.problems(&mut found);
        found
    }
}

/// Notes a problem.
pub(super) fn push(found: &mut Vec<Problem>, key: &'static str, sentence: String) {
    found.push(Problem { key, sentence });
}

/// `http://host…` or `https://host…`, printable, without query or fragment.
pub(super) fn is_origin_with_path(url: &str) -> bool {
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
pub(super) fn is_origin(text: &str) -> bool {
    is_origin_with_path(text)
        && text
            .split_once("://")
            .is_some_and(|(_, rest)| !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

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
        if cfg!(not(feature = "libavcodec")) {
            let libavcodec = crate::config::HevcDecoder::Libavcodec;
            assert_eq!(
                keys(|config| config.picture.hevc_decoder = libavcodec),
                ["picture.hevc_decoder"]
            );
        }
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
    fn room_for_bodies_holds_the_largest() {
        assert_eq!(
            keys(|config| config.http.fields_bytes_max = 16_383),
            ["http.fields_bytes_max"]
        );
    }

    #[test]
    fn everybody_is_no_proxy() {
        for everybody in ["0.0.0.0/0", "::/0"] {
            let found =
                keys(|config| config.http.trusted_proxies = vec![everybody.parse().unwrap()]);
            assert_eq!(found, ["http.trusted_proxies"]);
        }
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
