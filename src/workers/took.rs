//! How long a picture's steps took, as its worker says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::imaging::Step;

/// How long the steps of a picture took in its worker; nothing for one that was not reached.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Took {
    /// Reading the header and decoding.
    pub decode: Option<Duration>,
    /// Resizing and colours, in all sizes.
    pub resize: Option<Duration>,
    /// Encoding, all sizes.
    pub encode: Option<Duration>,
    /// Time of a processor for all of it: however busy the machine is, the same picture takes about the same.
    #[serde(default)]
    pub processor: Option<Duration>,
}

impl Took {
    /// Adds time to a step.
    pub(super) fn add(&mut self, step: Step, time: Duration) {
        let place = match step {
            Step::Decode => &mut self.decode,
            Step::Resize => &mut self.resize,
            Step::Encode => &mut self.encode,
        };
        *place = Some(place.unwrap_or_default().saturating_add(time));
    }

    /// Adds what another worker did for the same picture. It cannot have done more than in the time that it had.
    pub(super) fn add_within(&mut self, other: Self, elapsed: Duration) {
        for (step, time) in [
            (Step::Decode, other.decode),
            (Step::Resize, other.resize),
            (Step::Encode, other.encode),
        ] {
            if let Some(time) = time {
                self.add(step, time.min(elapsed));
            }
        }
        if let Some(time) = other.processor {
            self.add_processor(time.min(elapsed));
        }
    }

    /// Adds time of a processor.
    pub(super) fn add_processor(&mut self, time: Duration) {
        let before = self.processor.unwrap_or_default();
        self.processor = Some(before.saturating_add(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_a_worker_claims_beyond_what_it_had_is_cut() {
        let second = Duration::from_secs(1);
        let mut took = Took::default();
        took.add_within(
            Took {
                decode: Some(second),
                ..Took::default()
            },
            second,
        );

        let claimed = Took {
            decode: Some(Duration::MAX),
            resize: Some(Duration::from_millis(1)),
            processor: Some(second.saturating_mul(9)),
            ..Took::default()
        };
        took.add_within(claimed, second);

        let expected = Took {
            decode: Some(second.saturating_mul(2)),
            resize: Some(Duration::from_millis(1)),
            processor: Some(second),
            ..Took::default()
        };
        assert_eq!(took, expected);
    }
}
