//! What the store has counted: whether that is right, and how it is put right while others write.

use crate::storage::Error;
use crate::storage::What;
use crate::storage::audit::{Finding, Problem, Section};
use crate::storage::record;
use crate::storage::record::{CountsRecord, ProfileRecord};
use crate::storage::sled::audit::Entry;
use crate::storage::sled::engine::{Engine, Lookup, damaged, next_of};
use crate::storage::sled::gap;
use crate::storage::sled::lookup;

/// Whether as much is counted as there is. Looks at every profile. What it finds is certain when it is called by the
/// writing thread, which only waits for that if it was found beside it before.
pub(super) fn judge(engine: &Engine) -> Result<Option<Finding>, Error> {
    let stored = found(engine)?;
    let mut actual = CountsRecord::default();
    let mut entries = engine.profiles.iter();
    loop {
        let read = next_of(&mut entries).and_then(|entry| {
            let Some((key, bytes)) = entry else {
                return Ok(None);
            };
            let profile = record::decode::<ProfileRecord>(&key, &bytes);
            profile
                .map(Some)
                .map_err(|error| damaged(What::User, &error))
        });
        let profile = match read {
            Ok(Some(profile)) => profile,
            Ok(None) => break,
            // Nobody knows how many there are, or whether that one has a picture: what is counted may be right.
            Err(error) if gap::is_local(engine, &error) => return Ok(None),
            Err(error) => return Err(error),
        };
        actual.users = actual.users.saturating_add(1);
        let has = u64::from(profile.picture.is_some());
        actual.pictures = actual.pictures.saturating_add(has);
    }
    if stored == actual || found(engine)? == actual {
        return Ok(None);
    }
    let detail = format!(
        "{} users and {} pictures are counted, {} and {} are there",
        stored.users, stored.pictures, actual.users, actual.pictures
    );
    let entry = Entry {
        section: Section::Counts,
        key: Correction::between(stored, actual).encode(),
    };
    Ok(Some(entry.finding(Problem::WrongCounts, 0, detail)))
}

/// What is counted; nothing if that record cannot be read.
pub(super) fn found(lookup: &impl Lookup) -> Result<CountsRecord, Error> {
    match lookup::counts(lookup) {
        Err(Error::Damaged { .. }) => Ok(CountsRecord::default()),
        other => other,
    }
}

/// What is to be added to what is counted. Writes in between do not change that.
pub(super) struct Correction {
    users: i64,
    pictures: i64,
}

impl Correction {
    fn between(stored: CountsRecord, actual: CountsRecord) -> Self {
        Self {
            users: actual.users.wrapping_sub(stored.users).cast_signed(),
            pictures: actual.pictures.wrapping_sub(stored.pictures).cast_signed(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        [self.users.to_be_bytes(), self.pictures.to_be_bytes()].concat()
    }

    /// The correction in the key of an entry.
    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let (users, rest) = key.split_first_chunk::<8>()?;
        let (pictures, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            users: i64::from_be_bytes(*users),
            pictures: i64::from_be_bytes(*pictures),
        })
    }

    pub(super) fn apply(&self, counts: CountsRecord) -> CountsRecord {
        CountsRecord {
            users: counts.users.saturating_add_signed(self.users),
            pictures: counts.pictures.saturating_add_signed(self.pictures),
        }
    }
}
