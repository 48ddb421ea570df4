//! Accounts, tokens and profiles: register, log in, refresh, rename, delete.

use std::sync::Arc;

use crate::auth;
use crate::auth::password;
use crate::auth::token::Kind;
use crate::domain::user::Account;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::service::App;
use crate::service::Error;
use crate::service::pictures::unknown_caller;
use crate::storage;
use crate::storage::What;

/// What a log-in gives.
#[derive(Clone, Debug)]
pub struct Session {
    /// Token for the API.
    pub access: String,
    /// Token for new access tokens.
    pub refresh: String,
    /// Whose they are.
    pub user_id: UserId,
}

impl App {
    /// The user that an access token speaks for.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] for a token that is not accepted, [`Error::UnknownCaller`] if its user is gone.
    pub async fn authenticate(&self, token: &str) -> Result<UserId, Error> {
        let user = self
            .tokens
            .verify(token, Kind::Access, self.now())
            .map_err(Error::Token)?;
        self.store.account(&user).await.map_err(unknown_caller)?;
        Ok(user)
    }

    /// Makes a user who can log in.
    ///
    /// # Errors
    ///
    /// [`Error::PasswordTooShort`], [`Error::PasswordTooLong`], or [`Error::Storage`] for a taken e-mail address.
    pub async fn register(
        &self,
        email: Email,
        password: String,
        name: Option<DisplayName>,
    ) -> Result<Session, Error> {
        let profile = self.add_user(email, Some(password), name).await?;
        self.session(profile.user_id)
    }

    /// Makes a user; without a password one who cannot log in here.
    ///
    /// # Errors
    ///
    /// As [`App::register`].
    pub async fn add_user(
        &self,
        email: Email,
        password: Option<String>,
        name: Option<DisplayName>,
    ) -> Result<Profile, Error> {
        let password_hash = match password {
            Some(password) => Some(self.hash(password).await?),
            None => None,
        };
        let name = name.unwrap_or_else(|| DisplayName::from_email(&email));
        let user_id = UserId::from_random(auth::random()?);
        let account = Account {
            user_id,
            email,
            password_hash,
            created_at: self.now(),
        };
        Ok(self.store.create_user(account, name).await?)
    }

    /// Logs in. An unknown address takes as long as a wrong password.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`], whichever of the two is wrong.
    pub async fn log_in(&self, email: &str, password: String) -> Result<Session, Error> {
        let account = match email.parse::<Email>() {
            Ok(email) => match self.store.account_by_email(&email).await {
                Ok(account) => Some(account),
                Err(storage::Error::NotFound(_)) => None,
                Err(error) => return Err(error.into()),
            },
            Err(_) => None,
        };
        let stored = account
            .as_ref()
            .and_then(|account| account.password_hash.clone());
        let equal =
            password.len() <= password::BYTES_MAX && self.verify(password.clone(), stored).await?;
        let account = account.filter(|_| equal).ok_or(Error::Credentials)?;
        let outdated = account.password_hash.as_deref();
        if outdated.is_some_and(password::is_outdated) {
            self.renew_hash(&account.user_id, password).await;
        }
        self.session(account.user_id)
    }

    /// Replaces a hash that came from elsewhere by one of our own, now that the password is known. If that fails, the
    /// next log-in tries again.
    async fn renew_hash(&self, user: &UserId, password: String) {
        let hasher = self.hasher.clone();
        let renewed = async {
            let hash = self.hashing(move || hasher.hash(&password)).await??;
            Ok::<_, Error>(self.store.set_password_hash(user, hash).await?)
        };
        if let Err(error) = renewed.await {
            let cause = crate::service::chain(&error);
            tracing::warn!(%user, cause, "cannot renew the password hash of a user");
        }
    }

    /// A new access token for a refresh token.
    ///
    /// # Errors
    ///
    /// [`Error::Token`], or [`Error::NoActiveAccount`] if the user is gone.
    pub async fn refresh(&self, token: &str) -> Result<String, Error> {
        let now = self.now();
        let user = self
            .tokens
            .verify(token, Kind::Refresh, now)
            .map_err(Error::Token)?;
        match self.store.account(&user).await {
            Ok(_) => {
                Ok(self
                    .tokens
                    .issue(&user, Kind::Access, now, self.config.auth.access_ttl_s)?)
            }
            Err(storage::Error::NotFound(What::User)) => Err(Error::NoActiveAccount),
            Err(error) => Err(error.into()),
        }
    }

    /// An access token for a user, named by id or e-mail address, that holds for `ttl_s` seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] without such a user.
    pub async fn token_for(&self, user: &str, ttl_s: u64) -> Result<String, Error> {
        let account = self.find(user).await?;
        Ok(self
            .tokens
            .issue(&account.user_id, Kind::Access, self.now(), ttl_s)?)
    }

    /// The account with this id or e-mail address.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] without such a user.
    pub async fn find(&self, user: &str) -> Result<Account, Error> {
        if let Ok(email) = user.parse::<Email>() {
            match self.store.account_by_email(&email).await {
                Err(storage::Error::NotFound(_)) => {}
                other => return Ok(other?),
            }
        }
        let id: UserId = user
            .parse()
            .map_err(|_| storage::Error::NotFound(What::User))?;
        Ok(self.store.account(&id).await?)
    }

    /// Removes a user and everything that is theirs.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] without such a user.
    pub async fn delete_user(&self, user: &UserId) -> Result<(), Error> {
        Ok(self.store.delete_user(user).await?)
    }

    /// The next accounts behind `after`, at most `count`; fewer: that was all.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn accounts(
        &self,
        after: Option<&UserId>,
        count: usize,
    ) -> Result<Vec<Account>, Error> {
        Ok(self.store.accounts(after, count).await?)
    }

    /// Anybody's profile.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] without such a user.
    pub async fn profile(&self, user: &UserId) -> Result<Profile, Error> {
        Ok(self.store.profile(user).await?)
    }

    /// The caller's own profile.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCaller`] if the user was deleted meanwhile.
    pub async fn own_profile(&self, caller: &UserId) -> Result<Profile, Error> {
        self.store.profile(caller).await.map_err(unknown_caller)
    }

    /// Changes the caller's display name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCaller`], [`Error::Storage`].
    pub async fn rename(&self, caller: &UserId, name: DisplayName) -> Result<Profile, Error> {
        self.store
            .rename(caller, name, self.now())
            .await
            .map_err(unknown_caller)
    }

    fn session(&self, user_id: UserId) -> Result<Session, Error> {
        let now = self.now();
        let auth = &self.config.auth;
        Ok(Session {
            access: self
                .tokens
                .issue(&user_id, Kind::Access, now, auth.access_ttl_s)?,
            refresh: self
                .tokens
                .issue(&user_id, Kind::Refresh, now, auth.refresh_ttl_s)?,
            user_id,
        })
    }

    async fn hash(&self, password: String) -> Result<String, Error> {
        let actual = password.chars().count();
        if actual < password::CHARS_MIN {
            return Err(Error::PasswordTooShort {
                actual,
                limit: password::CHARS_MIN,
            });
        }
        if password.len() > password::BYTES_MAX {
            return Err(Error::PasswordTooLong {
                actual: password.len(),
                limit: password::BYTES_MAX,
            });
        }
        let hasher = self.hasher.clone();
        Ok(self.hashing(move || hasher.hash(&password)).await??)
    }

    async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Error> {
        let hasher = self.hasher.clone();
        self.hashing(move || hasher.verify(&password, stored.as_deref()))
            .await
    }

    /// Runs a hash on a blocking thread, a bounded number at once: each takes megabytes and tens of milliseconds.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let slot = Arc::clone(&self.hash_slots)
            .acquire_owned()
            .await
            .map_err(|_| Error::Cancelled)?;
        let job = move || {
            let _held_until_done = slot;
            work()
        };
        tokio::task::spawn_blocking(job)
            .await
            .map_err(|_| Error::Cancelled)
    }
}
