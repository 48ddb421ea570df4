//! How often a user, an address or a log-in name may do what, in memory. A restart forgets it.

mod bucket;

use std::hash::Hash;

use crate::config;
use crate::domain::network::ClientAddress;
use crate::domain::user::UserId;
use crate::service::App;
use crate::service::Error;
use crate::service::throttle::bucket::Buckets;

/// How often each upload of a quota may be sent again with its key.
const REPEATS_PER_UPLOAD: u32 = 4;

/// What is counted, and by what.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Policy {
    /// Uploads by user.
    Upload,
    /// Uploads by address.
    UploadAddress,
    /// Registrations, log-ins and refreshes by address.
    LoginAddress,
    /// Failed log-ins by name.
    LoginName,
    /// Requests by user.
    Request,
    /// Requests by address.
    RequestAddress,
}

impl Policy {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Upload,
        Self::UploadAddress,
        Self::LoginAddress,
        Self::LoginName,
        Self::Request,
        Self::RequestAddress,
    ];

    /// Its name for clients.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::UploadAddress => "upload-address",
            Self::LoginAddress => "login-address",
            Self::LoginName => "login-name",
            Self::Request => "request",
            Self::RequestAddress => "request-address",
        }
    }

    /// The time that its quota is stated for, in seconds.
    #[must_use]
    pub const fn window_s(self) -> u32 {
        match self {
            Self::Upload | Self::UploadAddress | Self::LoginName => 3_600,
            Self::LoginAddress | Self::Request | Self::RequestAddress => 60,
        }
    }
}

/// What is left of a quota, for the `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers-11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// What is counted.
    pub policy: Policy,
    /// How many a window.
    pub limit: u32,
    /// How many would be taken now.
    pub remaining: u32,
    /// Time until the quota is whole again, in seconds; of a refusal, until one more will be taken.
    pub reset_s: u64,
}

/// A refusal, and when to try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Throttled {
    /// The quota that is used up.
    pub quota: Quota,
    /// Time until one more will be taken, in seconds, at least 1.
    pub retry_after_s: u64,
}

/// All limits.
pub(super) struct Throttle {
    uploads: Option<Buckets>,
    uploads_of_address: Option<Buckets>,
    repeats: Option<Buckets>,
    repeats_of_address: Option<Buckets>,
    logins_of_address: Option<Buckets>,
    failed_logins: Option<Buckets>,
    requests: Option<Buckets>,
    requests_of_address: Option<Buckets>,
}

impl Throttle {
    pub(super) fn new(config: &config::RateLimit) -> Self {
        let buckets = |policy, limit| Buckets::new(policy, limit, config.keys_max);
        let repeats = |uploads: u32| uploads.saturating_mul(REPEATS_PER_UPLOAD);
        Self {
            uploads: buckets(Policy::Upload, config.uploads_per_hour),
            uploads_of_address: buckets(Policy::UploadAddress, config.uploads_per_hour_per_address),
            repeats: buckets(Policy::Upload, repeats(config.uploads_per_hour)),
            repeats_of_address: buckets(
                Policy::UploadAddress,
                repeats(config.uploads_per_hour_per_address),
            ),
            logins_of_address: buckets(Policy::LoginAddress, config.logins_per_minute_per_address),
            failed_logins: buckets(Policy::LoginName, config.failed_logins_per_hour_per_name),
            requests: buckets(Policy::Request, config.requests_per_minute_per_user),
            requests_of_address: buckets(
                Policy::RequestAddress,
                config.requests_per_minute_per_address,
            ),
        }
    }

    /// Forgets whoever is not limited just now.
    pub(super) fn forget_idle(&self) {
        let all = [
            &self.uploads,
            &self.uploads_of_address,
            &self.repeats,
            &self.repeats_of_address,
            &self.logins_of_address,
            &self.failed_logins,
            &self.requests,
            &self.requests_of_address,
        ];
        all.into_iter().flatten().for_each(Buckets::forget_idle);
    }

    /// Takes one attempt to log in under that name. Given back unless the name or the password was wrong.
    pub(super) fn try_name(&self, name: &str) -> Result<Option<Quota>, Error> {
        taken(self.failed_logins.as_ref(), &folded(name))
    }

    /// The attempt was right, or nobody found out: it does not count.
    pub(super) fn name_was_not_wrong(&self, name: &str, taken: Option<Quota>) {
        given_back(self.failed_logins.as_ref(), &folded(name), taken);
    }
}

impl App {
    /// Takes one request of that address. None: there is no limit. The same holds for those below.
    ///
    /// # Errors
    ///
    /// [`Error::Throttled`] with the time to wait.
    pub fn admit_address(&self, address: ClientAddress) -> Result<Option<Quota>, Error> {
        taken(self.throttle.requests_of_address.as_ref(), &address)
    }

    /// Takes one registration, log-in or refresh of that address.
    ///
    /// # Errors
    ///
    /// [`Error::Throttled`].
    pub fn admit_login(&self, address: ClientAddress) -> Result<Option<Quota>, Error> {
        taken(self.throttle.logins_of_address.as_ref(), &address)
    }

    /// Takes one request of that user.
    ///
    /// # Errors
    ///
    /// [`Error::Throttled`].
    pub fn admit_user(&self, user: &UserId) -> Result<Option<Quota>, Error> {
        taken(self.throttle.requests.as_ref(), user)
    }

    /// Takes one upload of that user and that address. Called before the body is read, so that a flood costs nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Throttled`]; nothing is taken then.
    pub fn admit_upload(
        &self,
        user: &UserId,
        address: ClientAddress,
    ) -> Result<[Option<Quota>; 2], Error> {
        let Throttle {
            uploads,
            uploads_of_address,
            ..
        } = &self.throttle;
        taken_of_both([uploads, uploads_of_address], user, &address)
    }

    /// Takes one repetition of an upload of that user and that address; whether there was one. A repetition takes nothing
    /// of the quota of uploads, but is read like an upload: without a bound, one key would lift all limits.
    #[must_use]
    pub fn admit_repeat(&self, user: &UserId, address: ClientAddress) -> bool {
        let Throttle {
            repeats,
            repeats_of_address,
            ..
        } = &self.throttle;
        taken_of_both([repeats, repeats_of_address], user, &address).is_ok()
    }

    /// Gives back what an upload has taken that was not taken on after all: no worker, no room.
    pub fn forgive_upload(
        &self,
        user: &UserId,
        address: ClientAddress,
        [of_user, of_address]: [Option<Quota>; 2],
    ) {
        given_back(self.throttle.uploads.as_ref(), user, of_user);
        given_back(
            self.throttle.uploads_of_address.as_ref(),
            &address,
            of_address,
        );
    }
}

fn taken(buckets: Option<&Buckets>, key: &impl Hash) -> Result<Option<Quota>, Error> {
    let taken = buckets.map(|buckets| buckets.take(key)).transpose();
    taken.map_err(Error::Throttled)
}

/// One of a user's and one of an address's, or none of either.
fn taken_of_both(
    [of_users, of_addresses]: [&Option<Buckets>; 2],
    user: &UserId,
    address: &ClientAddress,
) -> Result<[Option<Quota>; 2], Error> {
    let of_user = taken(of_users.as_ref(), user)?;
    match taken(of_addresses.as_ref(), address) {
        Ok(of_address) => Ok([of_user, of_address]),
        Err(refusal) => {
            given_back(of_users.as_ref(), user, of_user);
            Err(refusal)
        }
    }
}

fn given_back(buckets: Option<&Buckets>, key: &impl Hash, taken: Option<Quota>) {
    if let Some((buckets, taken)) = buckets.zip(taken) {
        buckets.give_back(key, &taken);
    }
}

/// A name as log-in compares it: without case and the space around it.
fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}
