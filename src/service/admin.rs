//! What an operator asks for on the command line: the same work whether a server runs it or the command itself.
//!
//! A [`Task`] goes in, [`Event`]s come out, both plain data. The command line shows the events and never asks where
//! they were made: in its own process, over a store that it has opened, or in the server that has the store open, at
//! the other end of the admin socket. A new command is a new variant of [`Task`], its events, and an arm
//! of `Admin::perform`.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use crate::auth;
use crate::auth::keyring::Keyring;
use crate::auth::keys;
use crate::auth::password;
use crate::auth::password::Hasher;
use crate::auth::token::Kind;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::domain::user::Account;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::service::Clock;
use crate::service::Error;
use crate::service::StartError;
use crate::service::audit;
use crate::service::audit::Collection;
use crate::service::audit::Found;
use crate::service::audit::Summary;
use crate::service::chain;
use crate::service::system_clock;
use crate::storage;
use crate::storage::Store;
use crate::storage::What;
use crate::storage::audit::Section;

/// Accounts that are fetched at once.
const PAGE: usize = 1_000;
/// Events that may wait for whoever reads them; the work waits for a place.
pub const EVENTS_WAITING_MAX: usize = 256;

/// What can be asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Add a user; without a password one who cannot log in with one.
    AddUser {
        /// Log-in name.
        email: Email,
        /// Display name; none: what stands before the `@`.
        name: Option<DisplayName>,
        /// What tokens call the user; none: a new random id.
        id: Option<UserId>,
        /// The password.
        password: Option<Password>,
    },
    /// List all users.
    ListUsers,
    /// Delete a user and all that is theirs.
    DeleteUser {
        /// Id or e-mail address.
        user: String,
    },
    /// Make an access token.
    IssueToken {
        /// Id or e-mail address.
        user: String,
        /// How long it holds, in seconds; none: `auth.access_ttl_s`.
        ttl_s: Option<u64>,
    },
    /// Remove what no user needs; find profiles whose picture cannot be read.
    CollectGarbage(Collection),
    /// Compare everything that is stored with its checksums and with each other.
    CheckStore,
}

/// What is told while a task runs, and how it ended: the last event is always [`Event::Done`] or [`Event::Failed`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A user was added.
    Added {
        /// The new id.
        user_id: UserId,
        /// Log-in name.
        email: Email,
        /// Display name.
        name: DisplayName,
    },
    /// A user there is.
    User {
        /// The id.
        user_id: UserId,
        /// Log-in name; none for users of an issuer elsewhere.
        email: Option<Email>,
        /// When the account was made.
        created_at: Timestamp,
    },
    /// A token was made.
    Token {
        /// The token.
        token: String,
    },
    /// A part of an audit was done.
    Progress {
        /// Of what.
        section: Section,
        /// How many were looked at.
        done: u64,
        /// How many there are, where that is known.
        of: Option<u64>,
    },
    /// An audit has found something.
    Found(Found),
    /// An audit has come to its end.
    Audited(Summary),
    /// All was done.
    Done,
    /// It was not done, or not all of it.
    Failed {
        /// Why, for whoever typed the command.
        sentence: String,
    },
}

/// A password on its way to being hashed. Never printed.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Password(String);

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Where events go.
#[derive(Debug)]
pub struct Events(mpsc::Sender<Event>);

impl Events {
    pub(super) fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(sender)
    }

    /// Tells of an event.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if nobody listens any more: the work ends there.
    pub async fn tell(&self, event: Event) -> Result<(), Error> {
        self.0.send(event).await.map_err(|_| Error::Cancelled)
    }
}

/// The part of the program that works without decoding a picture.
#[derive(Debug)]
pub struct Admin {
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
    /// Finds the key and builds on a store that is open.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(config: &Config, store: Arc<dyn Store>, clock: Clock) -> Result<Self, StartError> {
        let found = keys::find(&config.auth, &config.storage.data_dir)?;
        if let Some(file) = &found.made {
            tracing::info!(file = %file.display(), "made a signing key; keep it: without it every token is void");
        }
        Ok(Self {
            clock,
            store,
            keys: Keyring::local(&found.secret, config.auth.leeway_s)?,
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
        Self::new(config, store, system_clock)
    }

    /// Closes the store so that the next opening is quick. Nothing else is called afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]; what was acknowledged is safe nevertheless.
    pub async fn close(&self) -> Result<(), Error> {
        Ok(self.store.close().await?)
    }

    /// Does what was asked for and tells of it, from the first event to the last.
    pub async fn report(&self, task: Task, events: mpsc::Sender<Event>) {
        let events = Events(events);
        let last = match self.perform(task, &events).await {
            Ok(()) => Event::Done,
            Err(error) => Event::Failed {
                sentence: sentence(error),
            },
        };
        // Whoever has gone away does not want to know.
        drop(events.tell(last).await);
    }

    async fn perform(&self, task: Task, events: &Events) -> Result<(), Error> {
        match task {
            Task::AddUser {
                email,
                name,
                id,
                password,
            } => {
                let password = password.map(|Password(text)| text);
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
        }
    }

    async fn list(&self, events: &Events) -> Result<(), Error> {
        let mut last = None;
        loop {
            let page = self.store.accounts(last.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            for account in page {
                last = Some(account.user_id.clone());
                let user = Event::User {
                    user_id: account.user_id,
                    email: account.email,
                    created_at: account.created_at,
                };
                events.tell(user).await?;
            }
            if is_last {
                return Ok(());
            }
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
        let actual = password.chars().count();
        if actual < password::CHARS_MIN {
            return Err(Error::PasswordTooShort {
                actual,
                limit: password::CHARS_MIN,
            });
        }
        if actual > password::CHARS_MAX {
            return Err(Error::PasswordTooLong {
                actual,
                limit: password::CHARS_MAX,
            });
        }
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
fn sentence(error: Error) -> String {
    match error {
        Error::Storage(cause) => chain(&cause),
        other => chain(&other),
    }
}
