//! Why rendering ended without a picture.

use crate::imaging::Error;

/// Why there is no picture, or not yet.
#[derive(Debug)]
pub(super) enum Stop {
    /// See [`Error`].
    Refused(Error),
    /// Only C or C++ can decode it, and that was not allowed.
    NeedsNative,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// For callers that allow everything: there is nothing that it could need.
impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(error) => error,
            Stop::NeedsNative => Self::Internal("C and C++ were not allowed".into()),
        }
    }
}
