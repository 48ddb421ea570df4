//! Use cases, the same for HTTP and the command line. Orders the side effects; owns the clock.
//!
//! [`App`] is built once and never changes. What changes lives in the store.

pub mod accounts;
pub mod admin;
pub mod audit;
pub mod idempotence;
pub mod maintenance;
pub mod metrics;
pub mod migrate;
pub mod pictures;
pub mod shares;
pub mod throttle;
mod turns;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::auth;
use crate::auth::keyring;
use crate::auth::keys;
use crate::auth::password;
use crate::auth::token;
use crate::config;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::domain::user::Invalid;
use crate::imaging;
use crate::service::admin::Admin;
use crate::service::metrics::Metrics;
use crate::storage;
use crate::storage::Store;
use crate::workers;
use crate::workers::InForce;
use crate::workers::Pool;

pub use crate::storage::StoredRendition as Stored;
pub use throttle::{Policy, Quota, Throttled};

/// Why a use case ended without its result.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("the token is not accepted")]
    Token(#[source] token::Rejected),
    #[error("the token's user is gone")]
    UnknownCaller,
    #[error("no such account, or a wrong password")]
    Credentials,
    #[error("the account of the refresh token is gone")]
    NoActiveAccount,
    #[error("the email address is not acceptable")]
    Email(#[source] Invalid),
    #[error("the password has {actual} characters, it must have at least {limit}")]
    PasswordTooShort { actual: usize, limit: usize },
    #[error("the password has {actual} characters, it may have at most {limit}")]
    PasswordTooLong { actual: usize, limit: usize },
    #[error("too many, by the limit {:?}", .0.quota.policy.name())]
    Throttled(Throttled),
    #[error("this idempotency key was used for another upload")]
    KeyReused,
    #[error("the upload is not usable")]
    Picture(#[source] imaging::Error),
    #[error("the decode worker died of the upload with SHA-256 {sha256}")]
    DecoderDied {
        sha256: String,
        #[source]
        death: workers::Death,
    },
    #[error("no decode worker is to be had")]
    NoWorker(#[source] workers::Error),
    #[error("all workers are busy and {queue_max} pictures wait already")]
    Busy { queue_max: usize },
    #[error("passwords are being checked, and {queue_max} more wait already")]
    HashesBusy { queue_max: usize },
    #[error("the store did not do it")]
    Storage(#[from] storage::Error),
    #[error("the store has {findings} findings")]
    Unsound { findings: u64 },
    #[error("no file came with the task")]
    NoInput,
    #[error("data was not moved")]
    Migrate(#[from] migrate::Error),
    #[error("{user}")]
    About {
        user: String,
        #[source]
        source: storage::Error,
    },
    #[error("password hashing failed")]
    Password(#[from] password::Error),
    #[error("a token could not be made")]
    Issue(#[from] token::Error),
    #[error("no randomness")]
    Random(#[from] auth::NoRandomness),
    #[error("background work was cut off")]
    Cancelled,
}

/// Why the program cannot begin its work.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum StartError {
    #[error("cannot find the key that signs tokens")]
    Key(#[from] keys::Error),
    #[error("cannot use the keys that prove tokens")]
    Keyring(#[from] keyring::Error),
    #[error("cannot set up password hashing")]
    Password(#[from] password::Error),
    #[error("cannot use the data directory")]
    Storage(#[from] storage::Error),
    #[error("cannot start decoding")]
    Workers(#[from] workers::Error),
}

/// Tells the time. Replaced in tests.
pub type Clock = fn() -> Timestamp;

/// The system's clock.
#[must_use]
pub fn system_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// An error and all that caused it, each told once: for the one place that logs or prints it.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Whether the configured secret, if it is in a file, can be used. Makes nothing.
///
/// # Errors
///
/// A file that cannot be read, or a secret that others could guess.
pub fn check_secret(config: &config::Auth) -> Result<(), StartError> {
    Ok(keys::check(config)?)
}

/// Everything that keeps the keys of the configured issuers from being used, as far as they are in files and variables.
/// Fetches nothing.
#[must_use]
pub fn check_issuers(config: &config::Auth) -> Vec<StartError> {
    let unusable = keyring::unusable(config).into_iter();
    unusable.map(StartError::from).collect()
}

/// A random text that names one request in logs and answers.
///
/// # Errors
///
/// [`Error::Random`] without randomness.
pub fn request_id() -> Result<String, Error> {
    Ok(format!("{:016x}", u64::from_be_bytes(auth::random()?)))
}

/// The program without its front ends.
pub struct App {
    /// What was configured; validated.
    pub config: Config,
    /// What is counted.
    pub metrics: Metrics,
    clock: Clock,
    store: Arc<dyn Store>,
    workers: Pool,
    /// What the command line asks for, over the same store.
    pub admin: Arc<Admin>,
    throttle: throttle::Throttle,
    answers: Arc<idempotence::Answers>,
    turns: turns::Turns,
    placeholder: Vec<(u16, Stored)>,
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("App")
            .field("store", &self.store)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Finds the key, opens the store and warms up.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let store = storage::open(&config.storage).await?;
        let key = keys::find(&config.auth, &config.storage.data_dir)?;
        Self::with_store(config, store, key, system_clock).await
    }

    /// The same over any store, key and clock.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn with_store(
        config: Config,
        store: Arc<dyn Store>,
        key: keys::Found,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let admin = Arc::new(Admin::new(&config, Arc::clone(&store), &key, clock)?);
        if let Some(file) = &key.made
            && store.counts().await?.users > 0
        {
            tracing::warn!(file = %file.display(), "the signing key was gone: tokens made before are void now");
        }
        admin.keys.add_issuers(&config.auth).await?;
        let (workers, in_force) = Pool::start(&config.workers, &config.picture).await?;
        log_in_force(&in_force);
        admin.lend(&workers);
        Ok(Self {
            clock,
            admin,
            metrics: Metrics::default(),
            throttle: throttle::Throttle::new(&config.rate_limit),
            answers: Arc::new(idempotence::Answers::new(
                Duration::from_secs(config.http.idempotency_ttl_s),
                config.http.idempotency_keys_max,
            )),
            turns: turns::Turns::new(
                workers.turns_per_user(),
                config.workers.queue_max,
                Duration::from_millis(config.workers.slow_ms),
            ),
            placeholder: pictures::placeholder(&workers, clock()).await?,
            store,
            workers,
            config,
        })
    }

    /// Reads all keys anew, as this configuration says. Nothing else of it is used. Until then, and if that fails, the
    /// keys before hold.
    ///
    /// # Errors
    ///
    /// What keeps the keys from being used.
    pub async fn reload_keys(&self, auth: &config::Auth) -> Result<(), StartError> {
        let data_dir = &self.config.storage.data_dir;
        Ok(self.admin.keys.reload(auth, data_dir).await?)
    }

    /// Fetches the keys of issuers elsewhere when it is time. Never ends.
    pub async fn keep_keys(&self) {
        self.admin.keys.keep().await;
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// Says what keeps decode workers in; loudly where nothing does.
fn log_in_force(in_force: &InForce) {
    let landlock = in_force
        .landlock
        .as_ref()
        .map_or_else(|reason| format!("no: {reason}"), Clone::clone);
    match &in_force.seccomp {
        Ok(()) => tracing::info!(
            seccomp = "in force",
            landlock,
            "decode workers are locked in"
        ),
        Err(reason) => tracing::warn!(
            seccomp = format!("no: {reason}"),
            landlock,
            "decode workers are NOT locked in"
        ),
    }
}
