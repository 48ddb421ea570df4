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
        self.rate_limit.problems(&mut found);
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

/// An origin as browsers send it (WHATWG HTML, "serialization of an origin"): scheme, host, and the port unless it is the
/// scheme's own, in lower case. None for what is no origin. Pages of apps have schemes of their own, such as
/// `capacitor://localhost`.
pub(super) fn origin(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://")?;
    let of_schemes = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(of_schemes) {
        return None;
    }
    // The colons of an IPv6 address are in brackets.
    let behind_address = rest
        .rfind(']')
        .map_or(0, |bracket| bracket.saturating_add(1));
    let at = rest.get(behind_address..)?.find(':');
    let (host, port) =
        match at.and_then(|at| rest.split_at_checked(behind_address.saturating_add(at))) {
            Some((host, port)) => (host, Some(port.strip_prefix(':')?.parse::<u16>().ok()?)),
            None => (rest, None),
        };
    let of_hosts =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let has_address = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || !host.chars().all(of_hosts) || has_address != host.contains(['[', ']']) {
        return None;
    }
    let own = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Some(match port.filter(|port| Some(*port) != own) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
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
            keys(|config| config.auth.access_life_s_max = 299),
            ["auth.access_life_s_max"]
        );
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
    fn origins_are_as_browsers_send_them() {
        for sent in [
            "https://app.example.org",
            "http://localhost:3000",
            "http://[::1]:3000",
            "https://[2001:db8::1]",
            "capacitor://localhost",
            "chrome-extension://abcdefgh",
            "http://a.org:443",
        ] {
            assert_eq!(origin(sent).as_deref(), Some(sent));
        }
        for (text, sent) in [
            ("https://App.Example.org", "https://app.example.org"),
            ("HTTPS://a.org", "https://a.org"),
            ("https://a.org:443", "https://a.org"),
            ("http://a.org:80", "http://a.org"),
            ("http://a.org:08080", "http://a.org:8080"),
        ] {
            assert_eq!(origin(text).as_deref(), Some(sent));
            let cors = |config: &mut Config| config.cors.origins = vec![text.to_owned()];
            assert_eq!(keys(cors), ["cors.origins"], "{text}");
        }
        for none in [
            "",
            "null",
            "a.org",
            "://a.org",
            "1://a.org",
            "https://",
            "https://:443",
            "https://a.org/",
            "https://a.org/path",
            "https://a.org?q",
            "https://user@a.org",
            "https://a.org:",
            "https://a.org:65536",
            "https://a.org:443:443",
            "https://[::1",
            "https://::1",
            "https://bücher.example",
            "https://*.example.org",
        ] {
            assert_eq!(origin(none), None, "{none}");
        }
    }

    #[test]
    fn limits_that_let_nothing_through_are_refused() {
        assert_eq!(
            keys(|config| config.http.form_parts_max = 0),
            ["http.form_parts_max"]
        );
        for too_few in [0, 1_023] {
            let found = keys(|config| config.http.form_overhead_bytes_max = too_few);
            assert_eq!(found, ["http.form_overhead_bytes_max"]);
        }
        assert_eq!(
            keys(|config| config.rate_limit.keys_max = 0),
            ["rate_limit.keys_max"]
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
