//! Durable state: accounts, profiles, pictures. The only mutable state of the program.
//!
//! [`Store`] is the contract; `storage/sled.rs` keeps it on one machine's disk. Nothing here knows of HTTP, tokens
//! or how pictures are made.

pub mod activity;
pub mod archive;
pub mod audit;
mod data_dir;
pub mod django;
pub mod listed;
pub mod record;
mod sled;
pub mod upkeep;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::config;
use crate::domain::Timestamp;
use crate::domain::picture::Picture;
use crate::domain::picture::PictureId;
use crate::domain::picture::Rendition;
use crate::domain::user::Account;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::storage::activity::Activity;
use crate::storage::audit::Examined;
use crate::storage::audit::Finding;
use crate::storage::audit::Place;
use crate::storage::listed::ListedAccount;
use crate::storage::listed::Snapshot;
use crate::storage::upkeep::Compacted;
use crate::storage::upkeep::Forwarded;
use crate::storage::upkeep::KeyedUpload;
use crate::storage::upkeep::Making;
use crate::storage::upkeep::Original;
use crate::storage::upkeep::Schema;
use crate::storage::upkeep::Watch;

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    /// Nothing of that name, or no longer.
    #[error("no such {0}")]
    NotFound(What),
    /// Something of that name is there already.
    #[error("this {0} is taken")]
    AlreadyExists(What),
    /// Stored bytes are not what was written. Never the caller's fault.
    #[error("stored {what} is damaged: {detail}")]
    Damaged { what: What, detail: String },
    /// The write would leave less free space than `storage.free_bytes_min`.
    #[error("disk is full: {free} bytes are free, {free_min} must stay free")]
    DiskFull { free: u64, free_min: u64 },
    /// What was to be changed is not what the caller has seen.
    #[error("the profile has changed meanwhile")]
    Changed,
    /// Another process has the data directory.
    #[error("cannot open the store: {holder} has the data directory {directory}")]
    InUse { holder: String, directory: String },
    /// The store cannot be opened, is closed, or does not take writes after a failure.
    #[error("cannot open the store: {0}")]
    Unavailable(String),
    /// The store was written by a newer program.
    #[error("store has schema version {found}, this program knows versions up to {known}")]
    TooNew { found: u32, known: u32 },
    /// The disk or the database failed; what was to be written has not happened.
    #[error("cannot {attempt}")]
    Io {
        attempt: &'static str,
        #[source]
        source: Arc<dyn StdError + Send + Sync>,
    },
}

/// The kinds of things that a store holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// An account or profile, by user id.
    User,
    /// A log-in name.
    Email,
    /// A picture or one of its renditions.
    Picture,
    /// Something that only the store knows of.
    Record,
}

impl std::fmt::Display for What {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::User => "user",
            Self::Email => "email address",
            Self::Picture => "picture",
            Self::Record => "record",
        })
    }
}

/// A rendition as read back: its bytes were compared with their checksum.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredRendition {
    /// The JPEG file.
    pub bytes: Bytes,
    /// XXH3-128 of the file: a strong validator, as the file never changes.
    pub checksum: u128,
    /// When the picture was uploaded.
    pub uploaded_at: Timestamp,
}

/// Opens the store that the configuration asks for, makes it if there is none.
///
/// # Errors
///
/// [`Error::InUse`] if another process has it, [`Error::Unavailable`], [`Error::TooNew`], [`Error::Damaged`],
/// [`Error::Io`].
pub async fn open(config: &config::Storage) -> Result<Arc<dyn Store>, Error> {
    sled::open(config).await
}

/// A user with all that belongs to them, as they move between stores.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WholeUser {
    /// Who logs in.
    pub account: Account,
    /// What is shown of them, with its times.
    pub profile: Profile,
    /// The files of the profile's picture, in the order of its sizes; none without a picture.
    pub renditions: Vec<Rendition>,
    /// How the picture was made.
    pub making: Making,
}

/// A file in the data directory that has no name and is gone when it is closed. Call while the store is open: it is
/// the store's directory.
///
/// # Errors
///
/// What the system says.
pub fn unnamed_file(config: &config::Storage) -> std::io::Result<std::fs::File> {
    data_dir::unnamed_file(&config.data_dir)
}

/// Room that a store takes and has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Disk {
    /// Files in the data directory, in bytes.
    pub used_bytes: u64,
    /// Left on its disk, in bytes, where the kernel says.
    pub free_bytes: Option<u64>,
}

/// Looks at the disk that a data directory is on. Blocks.
#[must_use]
pub fn disk(data_dir: &Path) -> Disk {
    let places = ["", "db", "db/blobs"].map(|place| data_dir.join(place));
    let sizes = places.iter().map(|place| data_dir::size_bytes(place));
    Disk {
        used_bytes: sizes.fold(0, u64::saturating_add),
        free_bytes: data_dir::free_bytes(data_dir).ok(),
    }
}

/// A change of what is shown of a user.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is a method of the store")]
pub enum Edit {
    /// [`Store::rename`]
    Rename { name: DisplayName, now: Timestamp },
    /// [`Store::store_picture`]
    ReplacePicture {
        picture: Picture,
        renditions: Vec<Rendition>,
        making: Box<Making>,
    },
    /// [`Store::remove_picture`]
    RemovePicture { now: Timestamp },
}

/// What a store holds, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Users with a profile.
    pub users: u64,
    /// Pictures that a profile points at.
    pub pictures: u64,
}

/// Durable accounts, profiles and pictures.
///
/// Contract, checked by the conformance suite (`tests/it/store`) for every implementation:
///
/// 1. Each method is atomic; `Ok` from a writing method means: survives power loss. Whatever is called after that sees
///    it. `Err` from a writing method means: nothing has changed, and nothing of it shows up later, unless the process
///    is stopped before it could be taken back.
/// 2. A user never points at a picture that cannot be read. At most one live picture a user.
/// 3. A picture never changes. Each blob carries a checksum, verified on read: damage is [`Error::Damaged`],
///    never a wrong picture. A blob that is missing although a profile points at it is damage as well, not
///    [`Error::NotFound`].
/// 4. Dropping a returned future at any `.await` breaks none of the above: the write happens wholly or not at all.
///    An implementation therefore works in a task of its own and lets the future only wait for it.
/// 5. Disk full or an I/O error is an error value; reads go on; it heals when space returns, without being opened
///    anew by the caller.
///
/// What follows for a database with the files elsewhere (rows in PostgreSQL, files in an object store, say): put the
/// files first, under keys that hold the picture's id; then commit the one transaction that checks, points the profile
/// at them and notes the old picture for removal; then remove the old files. A stop in between leaves files that no
/// profile points at; [`Store::examine`] finds them, and `older_than` keeps it from those that are about to be pointed
/// at. A reader who finds the row but no file looks at the row again before it speaks of damage: the picture may have
/// been replaced in between. When a commit was sent and no answer came, ask the database whether it took place before
/// answering. Caches of renditions forget a picture before its removal is acknowledged, on every machine that has one.
///
/// On the way there: reads see the latest acknowledged write, so a replica that lags is not read from. All ids and times
/// come from the caller; a store has neither a clock nor randomness that anybody sees. No method blocks its thread: what
/// waits for a disk or a network waits in the background. A caller does not repeat a write by itself, and need not: after
/// `Ok` it is done once, after `Err` not at all. Where repeating one is harmless, its method says so.
///
/// Several writes may run at once, for one user, too: they happen one after the other, in any order. Any error may also
/// be [`Error::Io`] or [`Error::Unavailable`]; methods that read may answer [`Error::Damaged`], methods that add bytes
/// [`Error::DiskFull`]. `# Errors` below names what a caller acts on beyond that.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Makes a user with an account and a profile of that name, without a picture, of the account's time; answers with
    /// the profile.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`] for a taken id or e-mail address.
    async fn create_user(&self, account: Account, name: DisplayName) -> Result<Profile, Error>;

    /// Stores a user as they are elsewhere: account, profile with its times, picture with its id. With `replace`, all of
    /// a user with the same id gives way to that, damaged or not, and is made if there is none. `renditions` are those that
    /// the picture names, in that order; of `making`, the recipe and the upload are kept. Repeated with `replace`, it
    /// changes nothing more.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`] for the id of a user, unless they are to be replaced; for an e-mail address or a picture
    /// id that another user has. Nothing is stored then.
    async fn put_user(&self, user: WholeUser, replace: bool) -> Result<(), Error>;

    /// The account of a user.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] without such a user.
    async fn account(&self, user: &UserId) -> Result<Account, Error>;

    /// The account with that e-mail address, compared without case.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] without such an account.
    async fn account_by_email(&self, email: &Email) -> Result<Account, Error>;

    /// Replaces the password hash of a user.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] without such a user.
    async fn set_password_hash(&self, user: &UserId, password_hash: String) -> Result<(), Error>;

    /// Removes a user: account, profile, picture and all blobs, and the way from the e-mail address, also of one who is
    /// damaged. The id and the address are free then.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] without such a user.
    async fn delete_user(&self, user: &UserId) -> Result<(), Error>;

    /// The users in order of their ids, at most `count`, those behind `after`. Fewer than `count`: there are no more.
    /// The order is that of the ids' bytes (in SQL: the collation "C"); `after` need not exist. A user who is there
    /// during a walk from page to page is seen exactly once; one who comes or goes meanwhile, once or not at all. An
    /// account that is damaged is listed as such: it neither ends the list nor is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the walk cannot go on, [`Error::Io`].
    async fn accounts(
        &self,
        after: Option<&UserId>,
        count: usize,
    ) -> Result<Vec<ListedAccount>, Error>;

    /// The profile of a user.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] without such a user.
    async fn profile(&self, user: &UserId) -> Result<Profile, Error>;

    /// Changes the display name of a user, also to the one they have; `now` becomes the profile's time of change.
    /// Answers with the profile as it is then.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] without such a user.
    async fn rename(
        &self,
        user: &UserId,
        name: DisplayName,
        now: Timestamp,
    ) -> Result<Profile, Error>;

    /// Gives a user this picture and removes the one before, blobs and all; answers with the profile as it is then.
    /// `renditions` are those that `picture.sizes_px` names, in that order; `picture.uploaded_at` becomes the
    /// profile's time of change.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] without such a user, [`Error::AlreadyExists`] for an id that a live picture has, the user's
    /// own included: nothing is stored then.
    async fn replace_picture(
        &self,
        user: &UserId,
        picture: Picture,
        renditions: Vec<Rendition>,
    ) -> Result<Profile, Error> {
        let making = Making::default();
        self.store_picture(user, picture, renditions, making).await
    }

    /// The same, with how the picture was made; with [`Making::keyed`], remembers that in the same step.
    ///
    /// # Errors
    ///
    /// As [`Store::replace_picture`]; [`Error::NotFound`] also if the picture that this one is made of is not the user's
    /// (any more).
    async fn store_picture(
        &self,
        user: &UserId,
        picture: Picture,
        renditions: Vec<Rendition>,
        making: Making,
    ) -> Result<Profile, Error>;

    /// The upload with an idempotency key of that name, if it is among the user's newest: at least as long as no
    /// [`Keyed`](crate::storage::upkeep::Keyed) of theirs asked to forget it, [`KeyedUpload::KEPT_MAX`] of them. It was
    /// remembered in one step with its picture, and is there whatever has become of that. It goes with its user, and when
    /// they are put anew.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`].
    async fn keyed_upload(&self, user: &UserId, key: &str) -> Result<Option<KeyedUpload>, Error>;

    /// What names the settings that a live picture was made with, if that is known.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if no user has that picture (any more).
    async fn recipe(&self, picture: PictureId) -> Result<Option<u64>, Error>;

    /// The upload that a live picture was made of, if it was kept.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if no user has that picture (any more), [`Error::Damaged`].
    async fn original(&self, picture: PictureId) -> Result<Option<Original>, Error>;

    /// Takes the picture of a user away, blobs and all; `now` becomes the profile's time of change. Answers with the
    /// profile as it is then. Without a picture nothing changes, the time neither.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] without such a user.
    async fn remove_picture(&self, user: &UserId, now: Timestamp) -> Result<Profile, Error>;

    /// Does what the method that `edit` names does, if the user's profile is `expected` at that moment, in every field:
    /// of several changes that expect the same, one happens. Comparing and changing are one step.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if it is another one; nothing is stored then. Those of the method.
    async fn edit_if(&self, expected: Profile, edit: Edit) -> Result<Profile, Error>;

    /// A rendition of a live picture: one that a profile points at now. From the acknowledgement of a replacement on,
    /// the old picture is not found.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if no user has that picture (any more) or it has no such size.
    async fn rendition(&self, picture: PictureId, size_px: u16) -> Result<StoredRendition, Error>;

    /// Holds on to everybody as they are at this moment, for one walk over all of them. Reads and writes go on meanwhile, at
    /// some cost until it is dropped, and are not seen in it. (In SQL: a transaction that only reads, of the level
    /// REPEATABLE READ, and no file is removed before it ends.)
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, Error>;

    /// How much there is: exactly what was acknowledged. Asked for often, so it is counted along and not by looking
    /// at everything.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    async fn counts(&self) -> Result<Counts, Error>;

    /// What it has done since it was opened; none if it does not count that.
    fn activity(&self) -> Option<&Activity> {
        None
    }

    /// One step of an audit: looks at some of what there is, from `from` on (none: from the beginning), compares all
    /// checksums and references, and says where to go on. Reads and writes go on meanwhile; what is found was so at
    /// one moment. A picture that no profile points at is left out if it was not uploaded before `older_than`: where a
    /// write takes several steps, it may be about to be pointed at.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a place of another store, [`Error::Damaged`] if the walk cannot go on, [`Error::Io`].
    async fn examine(&self, from: Option<&Place>, older_than: Timestamp)
    -> Result<Examined, Error>;

    /// Puts right what was found, as its [`Problem`](audit::Problem) says, if it is still so; whether anything was
    /// written. `now` becomes the time of change of a profile that loses its picture. Repeated, it changes nothing. Not to
    /// be called twice at once for the counts.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a place of another store, [`Error::Io`].
    async fn mend(&self, finding: &Finding, now: Timestamp) -> Result<bool, Error>;

    /// How the data is laid out. The first write of a newer program raises it. A store that moves its data forward when it
    /// is opened has always found what it knows.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] or [`Error::Io`].
    async fn schema(&self) -> Result<Schema, Error>;

    /// One step over all records, from `from` on (none: from the beginning): counts them by version. With `write`, those
    /// of old versions are written anew in one transaction, and the layout is raised with the last step. Reads and writes
    /// go on meanwhile. Begun again at any place it changes nothing that is done. A store without versions of its own sees
    /// no records.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a place of another store, [`Error::Io`].
    async fn forward(&self, from: Option<&Place>, write: bool) -> Result<Forwarded, Error>;

    /// Writes everything anew without the space that is not used, and puts that, if it is smaller, in the place of the old
    /// in one step: a stop at any moment leaves the one or the other, whole. Reads and writes go on meanwhile. Answers when the old one
    /// is gone; dropped, it ends soon and leaves nothing. None: this kind of store has no use for that.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`] if there is no room for both, [`Error::Unavailable`] if it was stopped, if another one runs, or
    /// if the store had to be opened anew meanwhile, [`Error::Damaged`] where not all can be read, [`Error::Io`]. All is as
    /// before then.
    async fn compact(&self, watch: &Watch) -> Result<Option<Compacted>, Error>;

    /// Whether writes would be taken just now. Asked for every few seconds: cheap, and where something is broken, an
    /// occasion to heal it, as nobody may write while this says no.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`] or [`Error::Unavailable`] with the reason why not.
    async fn ready(&self) -> Result<(), Error>;

    /// Finishes the writes that have begun, ends all other work and leaves the data so that the next opening is quick, by
    /// any process. What is called afterwards answers [`Error::Unavailable`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the last flush failed. What was acknowledged before is safe nevertheless. [`Error::Damaged`] or
    /// [`Error::Unavailable`] if what is stored was damaged meanwhile, so that it does not open as it was.
    async fn close(&self) -> Result<(), Error>;
}
