//! What an audit of a store finds, whatever the store is made of.
//!
//! An audit walks over everything that is stored, a bounded part at a time, while others read and write. What it
//! reports was so at one moment, not only seen half-way through somebody's change.

use serde::Deserialize;
use serde::Serialize;

/// Where a part of a store begins, or a finding is. Only the store that made it understands it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place(pub Vec<u8>);

/// What can be wrong in a store. One that rules some of it out by its construction never finds it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A picture that no profile points at, or whose user is gone. Mended by removing it.
    OrphanPicture,
    /// A part of a picture that belongs to no picture. Mended by removing it.
    OrphanPart,
    /// Idempotency keys of a user who is gone. Mended by removing them.
    OrphanKeys,
    /// A profile points at a picture that is missing or damaged. Mended by taking the picture away: the user has none.
    UnreadablePicture,
    /// The upload that was kept of a picture is missing or damaged; the picture is not. Mended by forgetting the upload.
    UnreadableOriginal,
    /// A record is not what was written. Mended if it only describes a picture or holds idempotency keys: then it is
    /// removed.
    DamagedRecord,
    /// Part of what is stored cannot be read at all, and nobody knows what is there. Not mended.
    UnreadablePages,
    /// Account, e-mail address and profile of a user do not belong together. Not mended.
    Inconsistent,
    /// The store counts something else than what is there. Mended by counting anew.
    WrongCounts,
}

impl Problem {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::OrphanPicture,
        Self::OrphanPart,
        Self::OrphanKeys,
        Self::UnreadablePicture,
        Self::UnreadableOriginal,
        Self::DamagedRecord,
        Self::UnreadablePages,
        Self::Inconsistent,
        Self::WrongCounts,
    ];

    /// Whether it is there for nobody: what is removed then is missed by no one.
    #[must_use]
    pub const fn is_garbage(self) -> bool {
        matches!(
            self,
            Self::OrphanPicture | Self::OrphanPart | Self::OrphanKeys
        )
    }

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrphanPicture => "orphan_picture",
            Self::OrphanPart => "orphan_part",
            Self::OrphanKeys => "orphan_keys",
            Self::UnreadablePicture => "unreadable_picture",
            Self::UnreadableOriginal => "unreadable_original",
            Self::DamagedRecord => "damaged_record",
            Self::UnreadablePages => "unreadable_pages",
            Self::Inconsistent => "inconsistent",
            Self::WrongCounts => "wrong_counts",
        }
    }

    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::OrphanPicture => "orphan picture",
            Self::OrphanPart => "orphan part",
            Self::OrphanKeys => "orphan idempotency keys",
            Self::UnreadablePicture => "unreadable picture",
            Self::UnreadableOriginal => "unreadable original",
            Self::DamagedRecord => "damaged record",
            Self::UnreadablePages => "unreadable pages",
            Self::Inconsistent => "inconsistent user",
            Self::WrongCounts => "wrong counts",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What kind of thing.
    pub problem: Problem,
    /// Which one and what is wrong with it, for people.
    pub detail: String,
    /// What it takes up, in bytes, where that is known.
    pub bytes: u64,
    /// Where it is, for mending.
    pub place: Place,
}

/// The kinds of things that an audit goes through, one after the other.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Profiles, and every byte of the pictures that they point at.
    Profiles,
    /// Accounts.
    Accounts,
    /// E-mail addresses.
    Emails,
    /// Pictures as such.
    Pictures,
    /// Parts of pictures.
    Parts,
    /// Idempotency keys.
    Keys,
    /// What the store has counted.
    Counts,
}

impl Section {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Profiles => "profiles",
            Self::Accounts => "accounts",
            Self::Emails => "e-mail addresses",
            Self::Pictures => "pictures",
            Self::Parts => "parts of pictures",
            Self::Keys => "idempotency keys",
            Self::Counts => "counts",
        }
    }
}

/// What one step of an audit saw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Examined {
    /// What was looked at.
    pub section: Section,
    /// How many of them.
    pub count: u64,
    /// What is wrong among them.
    pub findings: Vec<Finding>,
    /// Where to go on; none: that was all.
    pub next: Option<Place>,
}
