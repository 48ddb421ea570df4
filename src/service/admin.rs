//! What an operator asks for on the command line: the same work whether a server runs it or the command itself.
//!
//! A [`Task`] goes in, [`Event`]s come out, both plain data. The command line shows the events and never asks where
//! they were made: in its own process, over a store that it has opened, or in the server that has the store open, at
//! the other end of the admin socket. A new command is a new variant of [`Task`], its events, and an arm
//! of `Admin::perform`. Accounts are looked after here; audits in `service/audit`, moving data in `service/migrate`.

mod task;

use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::sync::OnceCell;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use crate::auth;
use crate::auth::keyring::Keyring;
use crate::auth::keys;
use crate::auth::password::Hasher;
use crate::auth::token::Kind;
use crate::config::Config;
use crate::domain::user::Account;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::service::Clock;
use crate::service::Error;
use crate::service::StartError;
use crate::service::accounts::check_password;
use crate::service::audit;
use crate::service::chain;
use crate::service::system_clock;
use crate::storage;
use crate::storage::Store;
use crate::storage::What;
use crate::storage::listed::ListedAccount;
use crate::workers;
use crate::workers::Pool;

pub use task::Chunk;
pub use task::Event;
pub use task::Events;
pub use task::Password;
pub use task::Task;

/// Accounts that are fetched at once.
const PAGE: usize = 1_000;
/// Events that may wait for whoever reads them; the work waits for a place.
pub const EVENTS_WAITING_MAX: usize = 256;

/// The workers, and how many of them may be kept busy.
#[derive(Clone, Debug)]
pub(super) struct Decoding {
    pub(super) pool: Pool,
    pub(super) at_once: usize,
}

/// The part of the program that an operator uses: over the store, and with workers where pictures are made.
#[derive(Debug)]
pub struct Admin {
    pub(super) config: Config,
    pub(super) decoding: OnceCell<Decoding>,
    pub(super) clock: Clock,
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: Keyring,
    pub(super) hasher: Hasher,
    hash_slots: Arc<Semaphore>,
    /// One for each hash that is being made or waits.
    hash_places: Arc<Semaphore>,
    hashes_waiting_max: usize,
    access_ttl_s: u64,
    pub(super) longest_request_s: u64,
    /// Held by the one audit that may run.
    pub(super) auditing: Mutex<()>,
}

impl Admin {
    /// Builds on a store that is open.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        key: &keys::Found,
        clock: Clock,
    ) -> Result<Self, StartError> {
        if let Some(file) = &key.made {
            tracing::info!(file = %file.display(), "made a signing key; keep it: without it every token is void");
        }
        Ok(Self {
            config: config.clone(),
            decoding: OnceCell::new(),
            clock,
            store,
            keys: Keyring::local(&key.secret, &config.auth)?,
            hasher: Hasher::new(&config.auth)?,
            hash_slots: Arc::new(Semaphore::new(config.auth.hashes_at_once_max)),
            hash_places: Arc::new(Semaphore::new(
                config
                    .auth
                    .hashes_at_once_max
                    .saturating_add(config.auth.hashes_waiting_max)
                    .min(Semaphore::MAX_PERMITS),
            )),
            hashes_waiting_max: config.auth.hashes_waiting_max,
            access_ttl_s: config.auth.access_ttl_s,
            longest_request_s: audit::longest_request_s(config),
            auditing: Mutex::new(()),
        })
    }

    /// Opens the store, for as long as no server has it.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let store = storage::open(&config.storage).await?;
        let key = keys::find(&config.auth, &config.storage.data_dir)?;
        Self::new(config, store, &key, system_clock)
    }

    /// A file that nobody else sees and that is gone when it is closed, in the data directory.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn unnamed_file(&self) -> io::Result<File> {
        storage::unnamed_file(&self.config.storage)
    }

    /// Whether so many bytes may be written to such a file, with a sentence why not.
    ///
    /// # Errors
    ///
    /// That sentence.
    pub fn check_room(&self, bytes: u64) -> Result<(), String> {
        let storage = &self.config.storage;
        let free_min = storage.free_bytes_min;
        match storage::disk(&storage.data_dir).free_bytes {
            Some(free) if free < free_min.saturating_add(bytes) => {
                Err(chain(&storage::Error::DiskFull { free, free_min }))
            }
            _ => Ok(()),
        }
    }

    /// Lends the workers of a server, which its uploads need as well.
    pub(super) fn lend(&self, pool: &Pool) {
        let at_once = pool.turns_per_user();
        let pool = pool.clone();
        // There is one call for each server, before anybody can ask.
        drop(self.decoding.set(Decoding { pool, at_once }));
    }

    /// The workers: the server's, or some of this command's own.
    pub(super) async fn decoding(&self) -> Result<&Decoding, workers::Error> {
        let start = async || {
            let (pool, _) = Pool::start(&self.config.workers, &self.config.picture).await?;
            let at_once = pool.size();
            Ok(Decoding { pool, at_once })
        };
        self.decoding.get_or_try_init(start).await
    }

    /// Closes the store so that the next opening is quick. Nothing else is called afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]; what was acknowledged is safe nevertheless.
    pub async fn close(&self) -> Result<(), Error> {
        if let Some(decoding) = self.decoding.get() {
            decoding.pool.close().await;
        }
        Ok(self.store.close().await?)
    }

    /// Does what was asked for and tells of it, from the first event to the last.
    ///
    /// `input` is the file that comes with the task, if it takes one.
    pub async fn report(&self, task: Task, input: Option<File>, events: mpsc::Sender<Event>) {
        let events = Events::new(events);
        let last = match self.perform(task, input, &events).await {
            Ok(()) => Event::Done,
            Err(error) => Event::Failed {
                sentence: sentence(error),
            },
        };
        // Whoever has gone away does not want to know.
        drop(events.tell(last).await);
    }

    async fn perform(&self, task: Task, input: Option<File>, events: &Events) -> Result<(), Error> {
        match task {
            Task::AddUser {
                email,
                name,
                id,
                password,
            } => {
                let password = password.map(String::from);
                let profile = self.add_user(email.clone(), password, name, id).await?;
                let added = Event::Added {
                    user_id: profile.user_id,
                    email,
                    name: profile.name,
                };
                events.tell(added).await
            }
            Task::ListUsers => self.list(events).await,
            Task::DeleteUser { user } => {
                let account = self.named(&user).await?;
                Ok(self.store.delete_user(&account.user_id).await?)
            }
            Task::IssueToken { user, ttl_s } => {
                let token = self.token_for(&user, ttl_s).await?;
                events.tell(Event::Token { token }).await
            }
            Task::CollectGarbage(how) => self.collect_garbage(how, events).await,
            Task::CheckStore => self.check_store(events).await,
            Task::Export => self.export(events).await,
            Task::Import { on_conflict } => {
                let input = input.ok_or(Error::NoInput)?;
                self.import(&input, on_conflict, events).await
            }
            Task::Records { up } => self.records(up, events).await,
            Task::Compact => self.compact(events).await,
            Task::Rerender(how) => self.rerender(how, events).await,
            Task::ImportDjango(from) => self.import_django(from, events).await,
        }
    }

    async fn list(&self, events: &Events) -> Result<(), Error> {
        let mut last = None;
        let mut findings = 0_u64;
        loop {
            let page = self.store.accounts(last.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            for ListedAccount { user_id, account } in page {
                last = Some(user_id.clone());
                let event = match account {
                    Ok(account) => Event::User {
                        user_id,
                        email: account.email,
                        created_at: account.created_at,
                    },
                    Err(error) => {
                        findings = findings.saturating_add(1);
                        let reason = error.to_string();
                        Event::Damaged { user_id, reason }
                    }
                };
                events.tell(event).await?;
            }
            if is_last {
                break;
            }
        }
        match findings {
            0 => Ok(()),
            findings => Err(Error::Unsound { findings }),
        }
    }

    /// Makes a user; without a password one who cannot log in here.
    ///
    /// # Errors
    ///
    /// [`Error::PasswordTooShort`], [`Error::PasswordTooLong`], or [`Error::HashesBusy`], or [`Error::Storage`] for a taken
    /// e-mail address or id.
    pub async fn add_user(
        &self,
        email: Email,
        password: Option<String>,
        name: Option<DisplayName>,
        id: Option<UserId>,
    ) -> Result<Profile, Error> {
        let password_hash = match password {
            Some(password) => Some(self.hash(password).await?),
            None => None,
        };
        let name = name.unwrap_or_else(|| DisplayName::from_email(&email));
        let user_id = match id {
            Some(id) => id,
            None => UserId::from_random(auth::random()?),
        };
        let account = Account {
            user_id,
            email: Some(email),
            password_hash,
            created_at: (self.clock)(),
        };
        Ok(self.store.create_user(account, name).await?)
    }

    /// An access token for the user with this id or e-mail address, for so many seconds or `auth.access_ttl_s`.
    ///
    /// # Errors
    ///
    /// [`Error::About`] if there is no such user.
    pub async fn token_for(&self, user: &str, ttl_s: Option<u64>) -> Result<String, Error> {
        let account = self.named(user).await?;
        let ttl_s = ttl_s.unwrap_or(self.access_ttl_s);
        let now = (self.clock)();
        let tokens = self.keys.tokens();
        Ok(tokens.issue(&account.user_id, Kind::Access, now, ttl_s)?)
    }

    /// The account with this id or e-mail address.
    async fn named(&self, user: &str) -> Result<Account, Error> {
        let found = self.find(user).await;
        found.map_err(|source| Error::About {
            user: user.to_owned(),
            source,
        })
    }

    async fn find(&self, user: &str) -> Result<Account, storage::Error> {
        if let Ok(email) = user.parse::<Email>() {
            match self.store.account_by_email(&email).await {
                Err(storage::Error::NotFound(_)) => {}
                other => return other,
            }
        }
        let id: UserId = user
            .parse()
            .map_err(|_| storage::Error::NotFound(What::User))?;
        self.store.account(&id).await
    }

    async fn hash(&self, password: String) -> Result<String, Error> {
        check_password(&password)?;
        let hasher = self.hasher.clone();
        Ok(self.hashing(move || hasher.hash(&password)).await??)
    }

    /// Runs a hash on a blocking thread, a bounded number at once: each takes megabytes and tens of milliseconds.
    pub(super) async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.hash_places).try_acquire_owned();
        let place = place.map_err(|_| Error::HashesBusy {
            queue_max: self.hashes_waiting_max,
        })?;
        let slot = Arc::clone(&self.hash_slots)
            .acquire_owned()
            .await
            .map_err(|_| Error::Cancelled)?;
        let job = move || {
            let _held_until_done = (place, slot);
            work()
        };
        tokio::task::spawn_blocking(job)
            .await
            .map_err(|_| Error::Cancelled)
    }
}

/// For whoever typed the command: what was wrong rather than who noticed.
pub(super) fn sentence(error: Error) -> String {
    match error {
        Error::Storage(cause) => chain(&cause),
        Error::Migrate(cause) => chain(&cause),
        other => chain(&other),
    }
}
