//! The [`Store`] on sled 0.34.7, one machine's disk. The only part of the program that knows of sled.
//!
//! How it keeps the contract, piece by piece: `engine` (tables, settings, failure), `real_sync` (syncs that are
//! syncs), `opening`, `transaction`, `change` and `whole` (all or nothing), `commit` (one writing thread, many waiting
//! callers), `headroom` (disks that will not take a write), `heal` (what follows an error), `undo` and `neighbours`
//! (nobody reads what is not durable), `snapshot` (everybody as they were), `lookup` and `chunk` (checksums), `cache`
//! (renditions in memory), `witness` (losses that sled does not notice), `forward` (old records), `compact` and
//! `exchange` (space that is not used), `walk`, `audit`, `gap`, `counted` and `mend` (what is wrong nevertheless),
//! `reserve` (room to open on a full disk).
//!
//! Invariant: what a method of [`Store`] has answered with `Ok` was flushed before, and everything it needed for that
//! was owned by the writing thread, so a caller that goes away changes nothing.

mod audit;
mod cache;
mod change;
mod chunk;
mod commit;
mod compact;
mod counted;
mod engine;
mod exchange;
mod forward;
mod gap;
mod headroom;
mod heal;
mod lookup;
mod mend;
mod neighbours;
mod opening;
mod real_sync;
mod reserve;
mod shared;
mod snapshot;
mod transaction;
mod undo;
mod upkeep;
mod walk;
mod whole;
mod witness;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::domain::Timestamp;
use crate::domain::picture::{Picture, PictureId, Rendition};
use crate::domain::user::{Account, DisplayName, Email, Profile, UserId};
use crate::storage::Counts;
use crate::storage::Edit;
use crate::storage::Error;
use crate::storage::Store;
use crate::storage::StoredRendition;
use crate::storage::What;
use crate::storage::WholeUser;
use crate::storage::activity::Activity;
use crate::storage::audit::{Examined, Finding, Place};
use crate::storage::listed;
use crate::storage::listed::ListedAccount;
use crate::storage::sled::audit::Entry;
use crate::storage::sled::cache::RenditionCache;
use crate::storage::sled::change::{Change, Done};
use crate::storage::sled::commit::{Asking, Request};
use crate::storage::sled::engine::{Engine, SCHEMA_VERSION, guarded};
pub(in crate::storage) use crate::storage::sled::opening::open;
use crate::storage::sled::shared::Shared;
use crate::storage::sled::walk::Start;
use crate::storage::upkeep::{Compacted, Forwarded, KeyedUpload, Making, Original, Schema, Watch};

/// Reads that go to the database at once; further ones wait. sled keeps memory for each thread that reads, and a few
/// keep two cores busy.
const READS_AT_ONCE_MAX: usize = 8;

/// A [`Store`] on sled.
#[derive(Debug)]
struct SledStore {
    shared: Arc<Shared>,
    /// None once the store is closed.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    reads: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl SledStore {
    /// A store whose writing thread takes these requests.
    fn new(shared: Arc<Shared>, requests: mpsc::Sender<Request>, thread: JoinHandle<()>) -> Self {
        Self {
            shared,
            requests: Mutex::new(Some(requests)),
            reads: Arc::new(Semaphore::new(READS_AT_ONCE_MAX)),
            thread: Mutex::new(Some(thread)),
        }
    }

    /// Hands a change to the writing thread and waits until it is durable.
    async fn write(&self, change: Change) -> Result<Done, Error> {
        let (answer, outcome) = oneshot::channel();
        self.request(Request::Write(change, answer)).await?;
        outcome.await.map_err(|_| closed())?
    }

    async fn write_profile(&self, change: Change) -> Result<Profile, Error> {
        let done = self.write(change).await?;
        done.profile.ok_or(Error::NotFound(What::User))
    }

    /// Reads in the writing thread, between two changes.
    async fn read_alone<T: Send + 'static>(
        &self,
        look_up: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        commit::read_alone(&self.requests()?, look_up).await
    }

    async fn request(&self, request: Request) -> Result<(), Error> {
        let requests = self.requests()?;
        requests.send(request).await.map_err(|_| closed())
    }

    fn requests(&self) -> Result<mpsc::Sender<Request>, Error> {
        self.sender().as_ref().cloned().ok_or_else(closed)
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Request>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the database in a blocking thread. If that has met an I/O error, opens it anew and tries once more.
    async fn read<T: Send + 'static>(
        &self,
        look_up: impl Fn(&Engine, &RenditionCache) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let look_up = Arc::new(look_up);
        match self.read_once(Arc::clone(&look_up)).await {
            Read::Answer(answer) => answer,
            Read::Broken => {
                self.healed().await?;
                match self.read_once(look_up).await {
                    Read::Answer(answer) => answer,
                    Read::Broken => Err(commit::not_open()),
                }
            }
        }
    }

    /// Lets the writing thread open the database anew if that is needed and possible.
    async fn healed(&self) -> Result<(), Error> {
        let (answer, healed) = oneshot::channel();
        self.request(Request::Heal(answer)).await?;
        healed.await.map_err(|_| closed())
    }

    /// Whether the database is open and takes writes. It is held only while it is being opened anew.
    fn is_sound(&self) -> bool {
        let engine = self.shared.engine.try_read();
        let is_open = engine.is_ok_and(|engine| self.shared.is_sound(engine.as_ref()));
        is_open && !self.shared.is_refusing.load(Ordering::Relaxed)
    }

    async fn read_once<T: Send + 'static>(
        &self,
        look_up: Arc<impl Fn(&Engine, &RenditionCache) -> Result<T, Error> + Send + Sync + 'static>,
    ) -> Read<T> {
        let Ok(permit) = Arc::clone(&self.reads).acquire_owned().await else {
            return Read::Answer(Err(closed()));
        };
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let engine = shared.engine.blocking_read();
            let Some(engine) = engine.as_ref() else {
                return Read::Broken;
            };
            let answer = guarded("read from the database", || look_up(engine, &shared.cache));
            let failed = matches!(answer, Err(Error::Io { .. } | Error::Damaged { .. }));
            if failed && engine.is_broken() {
                return Read::Broken;
            }
            Read::Answer(answer)
        });
        reading
            .await
            .unwrap_or_else(|_| Read::Answer(Err(closed())))
    }
}

/// What came of a read.
enum Read<T> {
    Answer(Result<T, Error>),
    /// The database must be opened anew.
    Broken,
}

fn closed() -> Error {
    Error::Unavailable("the store is closed".to_owned())
}

#[async_trait]
impl Store for SledStore {
    async fn create_user(&self, account: Account, name: DisplayName) -> Result<Profile, Error> {
        self.write_profile(Change::CreateUser { account, name })
            .await
    }

    async fn put_user(&self, user: WholeUser, replace: bool) -> Result<(), Error> {
        let user = Box::new(user);
        self.write(Change::PutUser { user, replace })
            .await
            .map(|_| ())
    }

    async fn account(&self, user: &UserId) -> Result<Account, Error> {
        let user = user.clone();
        self.read(move |engine, _| lookup::account(engine, &user))
            .await
    }

    async fn account_by_email(&self, email: &Email) -> Result<Account, Error> {
        let email = email.clone();
        self.read(move |engine, _| {
            let user = lookup::user_by_email(engine, &email)?;
            lookup::account(engine, &user).map_err(|error| match error {
                // Deleted between the two steps.
                Error::NotFound(_) => Error::NotFound(What::Email),
                other => other,
            })
        })
        .await
    }

    async fn set_password_hash(&self, user: &UserId, password_hash: String) -> Result<(), Error> {
        let user = user.clone();
        let change = Change::SetPasswordHash {
            user,
            password_hash,
        };
        self.write(change).await.map(|_| ())
    }

    async fn delete_user(&self, user: &UserId) -> Result<(), Error> {
        let user = user.clone();
        self.write(Change::DeleteUser { user }).await.map(|_| ())
    }

    async fn accounts(
        &self,
        after: Option<&UserId>,
        count: usize,
    ) -> Result<Vec<ListedAccount>, Error> {
        let after = after.cloned();
        self.read(move |engine, _| lookup::accounts(engine, after.as_ref(), count))
            .await
    }

    async fn profile(&self, user: &UserId) -> Result<Profile, Error> {
        let user = user.clone();
        self.read(move |engine, _| lookup::profile(engine, &user))
            .await
    }

    async fn rename(
        &self,
        user: &UserId,
        name: DisplayName,
        now: Timestamp,
    ) -> Result<Profile, Error> {
        let user = user.clone();
        self.write_profile(Change::Rename { user, name, now }).await
    }

    async fn store_picture(
        &self,
        user: &UserId,
        picture: Picture,
        renditions: Vec<Rendition>,
        making: Making,
    ) -> Result<Profile, Error> {
        let user = user.clone();
        let change = Change::ReplacePicture {
            user,
            picture,
            renditions,
            making: Box::new(making),
        };
        self.write_profile(change).await
    }

    async fn keyed_upload(&self, user: &UserId, key: &str) -> Result<Option<KeyedUpload>, Error> {
        let (user, key) = (user.clone(), key.to_owned());
        self.read(move |engine, _| Ok(lookup::keys(engine, &user)?.find(&key)))
            .await
    }

    async fn recipe(&self, picture: PictureId) -> Result<Option<u64>, Error> {
        self.read(move |engine, _| Ok(lookup::manifest(engine, picture)?.recipe))
            .await
    }

    async fn original(&self, picture: PictureId) -> Result<Option<Original>, Error> {
        self.read(move |engine, _| lookup::original(engine, picture))
            .await
    }

    async fn snapshot(&self) -> Result<Box<dyn listed::Snapshot>, Error> {
        let shared = Arc::clone(&self.shared);
        let asking = Asking::of(&self.requests()?);
        let begin = move |_: &Engine| shared.snapshots.begin(&shared, asking);
        Ok(Box::new(self.read_alone(begin).await?))
    }

    async fn remove_picture(&self, user: &UserId, now: Timestamp) -> Result<Profile, Error> {
        let user = user.clone();
        self.write_profile(Change::RemovePicture { user, now })
            .await
    }

    async fn edit_if(&self, expected: Profile, edit: Edit) -> Result<Profile, Error> {
        let user = expected.user_id.clone();
        let change = match edit {
            Edit::Rename { name, now } => Change::Rename { user, name, now },
            Edit::ReplacePicture {
                picture,
                renditions,
                making,
            } => Change::ReplacePicture {
                user,
                picture,
                renditions,
                making,
            },
            Edit::RemovePicture { now } => Change::RemovePicture { user, now },
        };
        let (expected, change) = (Box::new(expected), Box::new(change));
        self.write_profile(Change::If { expected, change }).await
    }

    async fn rendition(&self, picture: PictureId, size_px: u16) -> Result<StoredRendition, Error> {
        if let Some(found) = self.shared.cache.find(picture, size_px) {
            return Ok(found);
        }
        self.read(move |engine, cache| {
            let ticket = cache.ticket(picture);
            let found = lookup::rendition(engine, picture, size_px)?;
            cache.keep(ticket, size_px, found.clone());
            Ok(found)
        })
        .await
    }

    async fn counts(&self) -> Result<Counts, Error> {
        let counts = self.read(|engine, _| lookup::counts(engine)).await?;
        Ok(Counts {
            users: counts.users,
            pictures: counts.pictures,
        })
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.shared.activity)
    }

    async fn examine(
        &self,
        from: Option<&Place>,
        older_than: Timestamp,
    ) -> Result<Examined, Error> {
        let from = from.map_or_else(|| Ok(Start::first()), Start::of)?;
        let seen = self.read(move |engine, _| walk::walk(engine, &from, older_than));
        let seen = seen.await?;
        if !seen.is_suspicious() {
            return Ok(seen.examined);
        }
        self.read_alone(move |engine| seen.confirmed(engine, older_than))
            .await
    }

    async fn mend(&self, finding: &Finding, now: Timestamp) -> Result<bool, Error> {
        let change = Change::Mend {
            entry: Entry::of(&finding.place)?,
            problem: finding.problem,
            now,
        };
        let wrote = self.write(change).await?.wrote;
        if wrote {
            self.shared.activity.mended(finding.problem);
        }
        Ok(wrote)
    }

    async fn schema(&self) -> Result<Schema, Error> {
        self.read(|engine, _| {
            Ok(Schema {
                found: engine.schema.load(Ordering::Relaxed),
                known: SCHEMA_VERSION,
            })
        })
        .await
    }

    async fn forward(&self, from: Option<&Place>, write: bool) -> Result<Forwarded, Error> {
        upkeep::forward(self, from, write).await
    }

    async fn compact(&self, watch: &Watch) -> Result<Option<Compacted>, Error> {
        upkeep::compact(self, watch).await.map(Some)
    }

    async fn ready(&self) -> Result<(), Error> {
        let requests = self.sender().as_ref().cloned();
        if requests.is_none_or(|requests| requests.is_closed()) {
            return Err(closed());
        }
        self.shared.check_room(1, false)?;
        if self.is_sound() {
            return Ok(());
        }
        // Perhaps nobody writes, because this says that they should not.
        self.healed().await?;
        if self.is_sound() {
            return Ok(());
        }
        Err(commit::not_open())
    }

    async fn close(&self) -> Result<(), Error> {
        let (answer, outcome) = oneshot::channel();
        self.request(Request::Close(answer)).await?;
        let outcome = outcome.await.map_err(|_| closed())?;
        self.sender().take();
        outcome
    }
}

impl Drop for SledStore {
    /// Waits for what was already asked for. Whoever wants the next opening to be quick calls [`Store::close`] first.
    fn drop(&mut self) {
        self.sender().take();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
