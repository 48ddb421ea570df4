//! What `--fail-over` asks for: a figure and the most that it may be. Also how times are written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A figure of the report that can be limited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// A percentile of the latency, 100 being the longest.
    Latency {
        /// As it was written: p99.9, max.
        name: &'static str,
        percentile: f64,
        most: Duration,
    },
    /// Share of uploads that were not accepted, in percent.
    Errors { most: f64 },
}

/// The percentiles that are reported and can be limited.
pub(super) const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not FIGURE=LIMIT, such as p50=80ms, p99.9=5s, max=10s or errors=1%"
            )
        };
        let (figure, most) = text.split_once('=').ok_or_else(wrong)?;
        if figure == "errors" {
            let percent = most.strip_suffix('%').unwrap_or(most);
            let most = percent.parse().map_err(|_| wrong())?;
            return if (0.0..=100.0).contains(&most) {
                Ok(Self::Errors { most })
            } else {
                Err(wrong())
            };
        }
        let found = PERCENTILES.iter().find(|(name, _)| *name == figure);
        let (name, percentile) = *found.ok_or_else(wrong)?;
        let most = duration(most).map_err(|_| wrong())?;
        Ok(Self::Latency {
            name,
            percentile,
            most,
        })
    }
}

/// `250ms`, `1.5s` or `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time such as 250ms, 1.5s or 2m");
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    let found = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, unit) = found.ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    // A day: nobody waits longer in front of a progress bar.
    Some(number * unit)
        .filter(|seconds| (0.0..=86_400.0).contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(wrong)
}

/// The same, longer than nothing.
pub(in crate::cli) fn positive_duration(text: &str) -> Result<Duration, String> {
    let found = duration(text)?;
    if found.is_zero() {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(found)
}

/// A time for people: three digits and a unit.
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let text = if seconds >= 9.995 {
            format!("{seconds:.1} s")
        } else if seconds >= 0.999_5 {
            format!("{seconds:.2} s")
        } else if seconds >= 0.009_995 {
            format!("{:.0} ms", seconds * 1e3)
        } else {
            format!("{:.2} ms", seconds * 1e3)
        };
        formatter.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_percentile_and_a_time_or_a_share_of_errors() {
        assert_eq!(
            "p99.9=1.5s".parse(),
            Ok(Limit::Latency {
                name: "p99.9",
                percentile: 99.9,
                most: Duration::from_millis(1_500)
            })
        );
        assert_eq!("errors=0.5%".parse(), Ok(Limit::Errors { most: 0.5 }));
        for text in [
            "p99",
            "p98=1s",
            "p99=fast",
            "errors=101",
            "errors=-1",
            "max=",
            "errors=NaN",
        ] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }

    #[test]
    fn time_is_written_with_its_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        for text in ["", "5", "s", "-1s", "infs", "NaNs", "1e9s", "90000s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn time_is_shown_with_three_digits() {
        let shown = |micros| Time(Duration::from_micros(micros)).to_string();
        assert_eq!(shown(730), "0.73 ms");
        assert_eq!(shown(41_700), "42 ms");
        assert_eq!(shown(1_234_000), "1.23 s");
        assert_eq!(shown(61_040_000), "61.0 s");
    }
}
