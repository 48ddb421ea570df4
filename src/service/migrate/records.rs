//! Counts records by their versions, and writes those of old versions anew.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error as _;

use crate::service::Error;
use crate::service::admin::Admin;
use crate::service::admin::Event;
use crate::service::admin::Events;
use crate::service::migrate;
use crate::storage::upkeep::Forwarded;
use crate::storage::upkeep::Schema;

/// How many records of which version there were, and how many of them were written anew.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Versions {
    /// The layout of the store, at the end.
    pub schema: Schema,
    /// The records by their kind, in the order of the walk.
    pub kinds: Vec<Kind>,
}

/// The records of one kind.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kind {
    /// Its name.
    pub kind: String,
    /// The version that this program writes.
    pub current: u8,
    /// How many there were of each version.
    #[serde(deserialize_with = "numbered")]
    pub versions: BTreeMap<u8, u64>,
    /// How many were written anew in the current version.
    pub written: u64,
    /// How many could not be read.
    pub damaged: u64,
}

/// The keys of a JSON object are texts, and inside a tagged value nobody turns them into numbers.
fn numbered<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u8, u64>, D::Error> {
    let texts = BTreeMap::<String, u64>::deserialize(from)?;
    let numbered = texts.into_iter().map(|(version, count)| {
        let version = version.parse().map_err(D::Error::custom)?;
        Ok((version, count))
    });
    numbered.collect()
}

impl Kind {
    fn add(&mut self, step: &Forwarded) {
        for (version, count) in &step.versions {
            let sum = self.versions.entry(*version).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.written = self.written.saturating_add(step.written);
        self.damaged = self.damaged.saturating_add(step.damaged);
    }
}

impl Versions {
    /// Whether there is something that [`Task::Records`](crate::service::admin::Task::Records) with `up` would write.
    #[must_use]
    pub fn is_old(&self) -> bool {
        let old = |kind: &Kind| kind.versions.keys().any(|version| *version < kind.current);
        self.schema.found < self.schema.known || self.kinds.iter().any(old)
    }

    fn add(&mut self, step: &Forwarded) {
        if self.kinds.last().is_none_or(|kind| kind.kind != step.kind) {
            self.kinds.push(Kind {
                kind: step.kind.to_owned(),
                current: step.current,
                versions: BTreeMap::new(),
                written: 0,
                damaged: 0,
            });
        }
        if let Some(kind) = self.kinds.last_mut() {
            kind.add(step);
        }
    }
}

impl Admin {
    /// Walks over all records; with `up`, moves them forward.
    ///
    /// # Errors
    ///
    /// [`migrate::Error::DamagedRecords`] if some could not be moved; all others were.
    pub(in crate::service) async fn records(&self, up: bool, events: &Events) -> Result<(), Error> {
        let mut versions = Versions {
            schema: self.store.schema().await?,
            kinds: Vec::new(),
        };
        let mut from = None;
        let mut done = 0_u64;
        loop {
            let step = self.store.forward(from.as_ref(), up).await?;
            versions.add(&step);
            let seen = step.versions.values().chain([&step.damaged]);
            done = seen.fold(done, |sum, count| sum.saturating_add(*count));
            events.working("records", done, None).await?;
            from = step.next;
            if from.is_none() {
                break;
            }
        }
        versions.schema = self.store.schema().await?;
        let kinds = versions.kinds.iter();
        let damaged = kinds.fold(0_u64, |sum, kind| sum.saturating_add(kind.damaged));
        events.tell(Event::Versions(versions)).await?;
        match damaged {
            0 => Ok(()),
            damaged => Err(migrate::Error::DamagedRecords { damaged }.into()),
        }
    }
}
