//! Accounts, tokens and profiles: register, log in, refresh, rename, delete.

use crate::auth::claims::Caller;
use crate::auth::keyring::Accepted;
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
use crate::storage::Edit;
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

/// Whether a password can be that of a new account.
///
/// # Errors
///
/// [`Error::PasswordTooShort`] or [`Error::PasswordTooLong`].
pub fn check_password(password: &str) -> Result<(), Error> {
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
    Ok(())
}

impl App {
    /// The user that an access token speaks for. One of an issuer elsewhere who is not known yet gets an empty profile,
    /// where the issuer may do that.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] for a token that is not accepted, [`Error::UnknownCaller`] if its user is gone,
    /// [`Error::Storage`].
    pub async fn authenticate(&self, token: &str) -> Result<UserId, Error> {
        let verified = self.admin.keys.verify(token, self.now()).await;
        let Accepted { caller, provisions } = verified.map_err(Error::Token)?;
        match self.store.account(&caller.user).await {
            Err(storage::Error::NotFound(What::User)) if provisions => self.provision(caller).await,
            found => found.map(|_| caller.user).map_err(unknown_caller),
        }
    }

    /// Makes a user of an issuer elsewhere. Two first requests at once make one.
    async fn provision(&self, caller: Caller) -> Result<UserId, Error> {
        let account = Account {
            user_id: caller.user.clone(),
            email: None,
            password_hash: None,
            created_at: self.now(),
        };
        let name = caller.name.unwrap_or_else(DisplayName::of_nobody_known);
        match self.store.create_user(account, name).await {
            Ok(_) => {
                tracing::info!(user = %caller.user, "made a profile for a user of another issuer");
            }
            Err(storage::Error::AlreadyExists(What::User)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(caller.user)
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
        let profile = self
            .admin
            .add_user(email, Some(password), name, None)
            .await?;
        self.session(profile.user_id)
    }

    /// Logs in. An unknown address takes as long as a wrong password.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`], whichever of the two is wrong; [`Error::Throttled`] after too many of them.
    pub async fn log_in(&self, email: &str, password: String) -> Result<Session, Error> {
        let attempt = self.throttle.try_name(email)?;
        let found = self.account_with(email, &password).await;
        // What we had no time or no store for says nothing of the password.
        if !matches!(found, Err(Error::Credentials)) {
            self.throttle.name_was_not_wrong(email, attempt);
        }
        let account = found?;
        let outdated = account.password_hash.as_deref();
        if outdated.is_some_and(password::is_outdated) {
            self.renew_hash(&account.user_id, password).await;
        }
        self.session(account.user_id)
    }

    async fn account_with(&self, email: &str, password: &str) -> Result<Account, Error> {
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
        let equal = password.len() <= password::BYTES_MAX
            && self.verify(password.to_owned(), stored).await?;
        account.filter(|_| equal).ok_or(Error::Credentials)
    }

    /// Replaces a hash that came from elsewhere by one of our own, now that the password is known. If that fails, the
    /// next log-in tries again.
    async fn renew_hash(&self, user: &UserId, password: String) {
        let hasher = self.admin.hasher.clone();
        let renewed = async {
            let hash = self.admin.hashing(move || hasher.hash(&password)).await??;
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
        let tokens = self.admin.keys.tokens();
        let user = tokens
            .verify(token, Kind::Refresh, now)
            .map_err(Error::Token)?;
        match self.store.account(&user).await {
            Ok(_) => {
                let ttl_s = self.config.auth.access_ttl_s;
                Ok(tokens.issue(&user, Kind::Access, now, ttl_s)?)
            }
            Err(storage::Error::NotFound(What::User)) => Err(Error::NoActiveAccount),
            Err(error) => Err(error.into()),
        }
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

    /// Changes the caller's display name. With `expected`, only if their profile is that one.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCaller`], [`Error::Storage`].
    pub async fn rename(
        &self,
        caller: &UserId,
        name: DisplayName,
        expected: Option<Profile>,
    ) -> Result<Profile, Error> {
        let now = self.now();
        let renamed = match expected {
            None => self.store.rename(caller, name, now).await,
            Some(expected) => {
                self.store
                    .edit_if(expected, Edit::Rename { name, now })
                    .await
            }
        };
        renamed.map_err(unknown_caller)
    }

    fn session(&self, user_id: UserId) -> Result<Session, Error> {
        let now = self.now();
        let auth = &self.config.auth;
        let tokens = self.admin.keys.tokens();
        Ok(Session {
            access: tokens.issue(&user_id, Kind::Access, now, auth.access_ttl_s)?,
            refresh: tokens.issue(&user_id, Kind::Refresh, now, auth.refresh_ttl_s)?,
            user_id,
        })
    }

    async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Error> {
        let hasher = self.admin.hasher.clone();
        self.admin
            .hashing(move || hasher.verify(&password, stored.as_deref()))
            .await
    }
}
