//! What a store notes about itself.

use serde::Deserialize;
use serde::Serialize;

use crate::storage::record::First;
use crate::storage::record::Record;

/// How the data is laid out. A store with a higher number is refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchemaRecord {
    /// The layout's number.
    pub version: u32,
}

impl Record for SchemaRecord {
    const KIND: &'static str = "schema";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}

/// How much there is, kept in step by every transaction.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CountsRecord {
    /// Users with a profile.
    pub users: u64,
    /// Pictures that a profile points at.
    pub pictures: u64,
}

impl Record for CountsRecord {
    const KIND: &'static str = "counts";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}

/// The number of the last commit: one more with each.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SequenceRecord {
    /// Commits so far.
    pub commits: u64,
}

impl Record for SequenceRecord {
    const KIND: &'static str = "sequence";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}
