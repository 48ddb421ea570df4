//! The cause of an error, sent as text: its type does not travel.

use std::error::Error;

use serde::{Deserialize, Deserializer, Serializer};

type Cause = Box<dyn Error + Send + Sync>;

pub(super) fn serialize<S: Serializer>(cause: &Cause, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cause)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cause, D::Error> {
    Ok(String::deserialize(deserializer)?.into())
}
