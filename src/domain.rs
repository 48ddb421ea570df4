//! Types that cannot be invalid. Imports nothing of ours; no I/O, clock or randomness.
//!
//! Whoever holds one of these values need not check it again: parsing happens once, at the edge.

pub mod histogram;
pub mod network;
pub mod picture;
pub mod user;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point in time, in whole microseconds since the Unix epoch, UTC.
///
/// Prints as RFC 3339 with six decimals (`2026-01-31T08:09:10.000000Z`), the form of Django REST Framework.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: the unit of JWT's `exp`, `nbf` and `iat`.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(formatter, "{time:.6}"),
            // Outside the years -9999 to 9999; nothing of ours makes such a value.
            Err(_) => write!(formatter, "{} µs", self.0),
        }
    }
}

/// A text that is not a point in time of RFC 3339.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a time is written as 2026-01-31T08:09:10.000000Z")]
pub struct InvalidTimestamp;

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let time: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        Ok(Self(time.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_prints_as_rfc_3339_with_six_decimals() {
        let text = |micros| Timestamp::from_micros(micros).to_string();

        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(1_769_846_950_000_123), "2026-01-31T08:09:10.000123Z");
    }

    #[test]
    fn timestamp_is_read_as_it_is_printed() {
        let time = Timestamp::from_micros(1_769_846_950_000_123);

        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!("2026-01-31T09:09:10.000123+01:00".parse(), Ok(time));
        for text in ["", "2026-01-31", "2026-01-31T08:09:10", "1769846950"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    #[test]
    fn seconds_round_down_also_before_the_epoch() {
        assert_eq!(Timestamp::from_micros(1_999_999).as_seconds(), 1);
        assert_eq!(Timestamp::from_micros(-1).as_seconds(), -1);
    }
}
