//! All keys that prove access tokens: our own and those of the configured issuers. Replaced as a whole on a reload, so
//! that a request sees one state of them.
//!
//! The signature comes first: an issuer's rules are asked only of a token that one of that issuer's keys has signed.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::auth::claims::Caller;
use crate::auth::claims::Rules;
use crate::auth::jwks;
use crate::auth::jws::Jws;
use crate::auth::keys;
use crate::auth::remote::Remote;
use crate::auth::remote::Source;
use crate::auth::token::Kind;
use crate::auth::token::Rejected;
use crate::auth::token::Tokens;
use crate::auth::verify::PublicKey;
use crate::auth::verify::Unusable;
use crate::auth::verify::VerifyingKey;
use crate::auth::verify::usual;
use crate::config;
use crate::config::Algorithm;
use crate::config::HmacAlgorithm;
use crate::config::PublicAlgorithm;
use crate::config::Secret;
use crate::domain::Timestamp;

/// Why the keys of an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot read {file}, a key of issuer {issuer:?}")]
    Read {
        issuer: String,
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{file}, a key of issuer {issuer:?}, has more than {limit} bytes")]
    TooLarge {
        issuer: String,
        file: PathBuf,
        limit: usize,
    },
    #[error("the variable {variable}, a key of issuer {issuer:?}, is not set")]
    Unset { issuer: String, variable: String },
    #[error("{place}, a key of issuer {issuer:?}, {weakness}")]
    Weak {
        issuer: String,
        place: String,
        weakness: String,
    },
    #[error("{place}, a key of issuer {issuer:?}, {unusable}")]
    Key {
        issuer: String,
        place: String,
        unusable: Unusable,
    },
    #[error("cannot use the JWKS in {file} of issuer {issuer:?}")]
    Jwks {
        issuer: String,
        file: PathBuf,
        #[source]
        source: jwks::Malformed,
    },
    #[error("cannot find the key that signs tokens")]
    Local(#[from] keys::Error),
    #[error("the secret that signs tokens {0}")]
    Secret(Unusable),
}

/// Whom an accepted token speaks for, and what that means here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// The user and, maybe, a name.
    pub caller: Caller,
    /// Whether a user who is unknown here is made one.
    pub provisions: bool,
}

/// The keys, and the way to replace them.
#[derive(Debug)]
pub struct Keyring {
    ring: RwLock<Arc<Ring>>,
    replaced: Notify,
}

/// One state of the keys.
#[derive(Debug)]
struct Ring {
    local: Arc<Tokens>,
    issuers: Vec<Issuer>,
}

#[derive(Debug)]
struct Issuer {
    rules: Rules,
    provisions: bool,
    fixed: Vec<VerifyingKey>,
    remote: Option<Arc<Remote>>,
}

impl Keyring {
    /// Our own key only.
    ///
    /// # Errors
    ///
    /// [`Error::Secret`].
    pub fn local(secret: &Secret, config: &config::Auth) -> Result<Self, Error> {
        let local = tokens(secret, config)?;
        Ok(Self {
            ring: RwLock::new(Arc::new(Ring {
                local: Arc::new(local),
                issuers: Vec::new(),
            })),
            replaced: Notify::new(),
        })
    }

    /// What signs and proves our own tokens.
    #[must_use]
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.ring().local)
    }

    /// Adds the keys of the configured issuers; fetches those that are elsewhere, as far as they are to be had.
    ///
    /// # Errors
    ///
    /// A key that cannot be read or used. What was there before stays.
    pub async fn add_issuers(&self, config: &config::Auth) -> Result<(), Error> {
        let ring = self.ring();
        let local = Arc::clone(&ring.local);
        self.replace(local, config, &ring).await
    }

    /// Reads all keys anew. Requests go on with the old ones until the new ones are there.
    ///
    /// # Errors
    ///
    /// As [`Keyring::add_issuers`], and our own key.
    pub async fn reload(&self, config: &config::Auth, data_dir: &Path) -> Result<(), Error> {
        let found = keys::find(config, data_dir)?;
        let local = tokens(&found.secret, config)?;
        self.replace(Arc::new(local), config, &self.ring()).await
    }

    async fn replace(
        &self,
        local: Arc<Tokens>,
        config: &config::Auth,
        before: &Ring,
    ) -> Result<(), Error> {
        let all = config.issuers.iter();
        let issuers = all.map(|issuer| Issuer::open(issuer, config, before));
        let issuers = issuers.collect::<Result<Vec<_>, _>>()?;
        let ring = Arc::new(Ring { local, issuers });
        let fresh = ring
            .remotes()
            .filter(|remote| remote.snapshot().generation == 0);
        join_all(fresh.map(|remote| remote.fetch())).await;
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        self.replaced.notify_one();
        Ok(())
    }

    /// Fetches the keys that are elsewhere when it is time. Never ends.
    pub async fn keep(&self) {
        loop {
            let ring = self.ring();
            let kept = join_all(ring.remotes().map(|remote| remote.keep()));
            tokio::select! {
                _ = kept, if ring.remotes().next().is_some() => {}
                () = self.replaced.notified() => {}
            }
        }
    }

    /// Whom an access token speaks for.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Accepted, Rejected> {
        let token = Jws::parse(token).ok_or(Rejected::Invalid)?;
        let ring = self.ring();
        if let Some(judged) = ring.local.judge(&token, Kind::Access, now) {
            return judged.map(|caller| Accepted {
                caller,
                provisions: false,
            });
        }
        let seen: Vec<_> = ring.issuers.iter().map(Issuer::generation).collect();
        if let Some(judged) = ring.judge(&token, now) {
            return judged;
        }
        for (issuer, seen) in ring.issuers.iter().zip(seen) {
            let Some(remote) = issuer
                .remote
                .as_ref()
                .filter(|_| issuer.may_publish(&token))
            else {
                continue;
            };
            if remote.newer(seen).await
                && let Some(judged) = ring.judge(&token, now)
            {
                remote.found();
                return judged;
            }
        }
        Err(Rejected::Invalid)
    }

    fn ring(&self) -> Arc<Ring> {
        // A panic while it was replaced has replaced it or not.
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ring {
    fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.issuers
            .iter()
            .filter_map(|issuer| issuer.remote.as_ref())
    }

    /// What the issuers say whose keys have signed a token; none if there is none.
    fn judge(&self, token: &Jws<'_>, now: Timestamp) -> Option<Result<Accepted, Rejected>> {
        let mut verdict = None;
        for issuer in self
            .issuers
            .iter()
            .filter(|issuer| issuer.has_signed(token))
        {
            let claims = token.claims().ok_or(Rejected::Invalid);
            let judged = claims.and_then(|claims| issuer.rules.judge(&claims, now));
            match (&judged, &verdict) {
                // Issuers may share keys; then one of them is meant.
                (Ok(_), _) => {
                    return Some(judged.map(|caller| Accepted {
                        caller,
                        provisions: issuer.provisions,
                    }));
                }
                (Err(Rejected::Invalid), Some(_)) => {}
                (Err(rejected), _) => verdict = Some(Err(*rejected)),
            }
        }
        verdict
    }
}

impl Issuer {
    fn open(issuer: &config::Issuer, auth: &config::Auth, before: &Ring) -> Result<Self, Error> {
        let reader = Reader::of(issuer, auth);
        let algorithms = public(&issuer.algorithms);
        let keys = issuer.keys.iter().map(|key| reader.key(key));
        let mut fixed = keys.collect::<Result<Vec<_>, _>>()?;
        if let Some(file) = &issuer.jwks_file {
            fixed.extend(reader.set(file, &algorithms)?.keys);
        }
        let remote = source(issuer, auth, algorithms).map(|source| {
            // What is known of the same keys is kept.
            let mut known = before.remotes();
            let known = known.find(|remote| remote.source.is_same_place(&source));
            match known {
                Some(known) if known.source == source => Arc::clone(known),
                known => {
                    let keys = known.map(|known| known.snapshot());
                    Arc::new(Remote::new(source, auth, keys))
                }
            }
        });
        Ok(Self {
            rules: Rules::of(issuer, auth),
            provisions: issuer.auto_provision,
            fixed,
            remote,
        })
    }

    fn generation(&self) -> u64 {
        let remote = self.remote.as_ref();
        remote.map_or(0, |remote| remote.snapshot().generation)
    }

    fn has_signed(&self, token: &Jws<'_>) -> bool {
        let signed = |key: &VerifyingKey| key.may_have_signed(token) && key.has_signed(token);
        let remote = self.remote.as_ref().map(|remote| remote.snapshot().keys);
        self.fixed.iter().any(signed) || remote.is_some_and(|keys| keys.iter().any(signed))
    }

    /// Whether the key of a token may be one that the issuer has published since: the token says so itself, which is
    /// enough to look, and not enough to believe it.
    fn may_publish(&self, token: &Jws<'_>) -> bool {
        let Some(remote) = &self.remote else {
            return false;
        };
        let names = |algorithm: &PublicAlgorithm| algorithm.as_str() == usual(&token.algorithm);
        let known = remote.snapshot().keys;
        if !remote.source.algorithms.iter().any(names)
            || known.iter().any(|key| key.is_named_by(token))
        {
            return false;
        }
        let claims = token.claims().unwrap_or_default();
        let said = claims.get("iss").and_then(serde_json::Value::as_str);
        self.rules.issuer.is_none() || self.rules.issuer.as_deref() == said
    }
}

fn tokens(secret: &Secret, config: &config::Auth) -> Result<Tokens, Error> {
    let tokens = Tokens::new(secret, config.leeway_s).map_err(Error::Secret)?;
    Ok(tokens.within(config.access_life_s_max))
}

/// Where the keys of an issuer are fetched, if they are.
fn source(
    issuer: &config::Issuer,
    auth: &config::Auth,
    algorithms: Vec<PublicAlgorithm>,
) -> Option<Source> {
    let discovery = issuer.discovery_url();
    if discovery.is_none() && issuer.jwks_url.is_none() {
        return None;
    }
    Some(Source {
        name: issuer.name.clone(),
        discovery: discovery.map(|url| (url, issuer.issuer.clone())),
        jwks_url: issuer.jwks_url.clone().unwrap_or_default(),
        algorithms,
        refresh: Duration::from_secs(auth.jwks_refresh_s),
        unknown_key: Duration::from_secs(auth.jwks_unknown_key_s),
        patience: Duration::from_millis(auth.jwks_timeout_ms),
    })
}

/// Everything that keeps the keys of the configured issuers from being used. Keys that are elsewhere are not fetched.
#[must_use]
pub fn unusable(config: &config::Auth) -> Vec<Error> {
    let mut found = Vec::new();
    for issuer in &config.issuers {
        let reader = Reader::of(issuer, config);
        found.extend(issuer.keys.iter().filter_map(|key| reader.key(key).err()));
        if let Some(file) = &issuer.jwks_file {
            found.extend(reader.set(file, &public(&issuer.algorithms)).err());
        }
    }
    found
}

/// Those for public keys; the configuration was checked for others.
fn public(algorithms: &[Algorithm]) -> Vec<PublicAlgorithm> {
    let public = algorithms.iter().filter_map(|algorithm| match algorithm {
        Algorithm::Public(algorithm) => Some(*algorithm),
        Algorithm::Hmac(_) => None,
    });
    public.collect()
}

fn hmac(algorithms: &[Algorithm]) -> Vec<HmacAlgorithm> {
    let hmac = algorithms.iter().filter_map(|algorithm| match algorithm {
        Algorithm::Hmac(algorithm) => Some(*algorithm),
        Algorithm::Public(_) => None,
    });
    hmac.collect()
}

/// Reads the keys of one issuer.
struct Reader<'a> {
    issuer: &'a str,
    bytes_max: usize,
}

impl<'a> Reader<'a> {
    fn of(issuer: &'a config::Issuer, auth: &config::Auth) -> Self {
        Self {
            issuer: &issuer.name,
            bytes_max: auth.jwks_bytes_max,
        }
    }

    fn key(&self, key: &config::Key) -> Result<VerifyingKey, Error> {
        if let Some(file) = &key.public_key_file {
            let place = file.display().to_string();
            let text = String::from_utf8_lossy(&self.file(file)?).into_owned();
            let made = PublicKey::from_pem(&text).and_then(|public_key| {
                VerifyingKey::public(key.kid.clone(), &public_key, &public(&key.algorithms))
            });
            return made.map_err(|unusable| self.unusable(place, unusable));
        }
        let (place, text) = match (&key.secret_file, &key.secret_env) {
            (Some(file), _) => {
                let text = String::from_utf8_lossy(&self.file(file)?).into_owned();
                (file.display().to_string(), text)
            }
            (None, variable) => {
                let variable = variable.clone().unwrap_or_default();
                let text = std::env::var(&variable).map_err(|_| Error::Unset {
                    issuer: self.issuer.to_owned(),
                    variable: variable.clone(),
                })?;
                (format!("the variable {variable}"), text)
            }
        };
        let secret = Secret::from(text.trim_end_matches(['\r', '\n']).to_owned());
        if let Some(weakness) = secret.weakness() {
            return Err(Error::Weak {
                issuer: self.issuer.to_owned(),
                place,
                weakness,
            });
        }
        let bytes = secret.expose().as_bytes();
        VerifyingKey::secret(key.kid.clone(), bytes, &hmac(&key.algorithms))
            .map_err(|unusable| self.unusable(place, unusable))
    }

    fn set(&self, file: &Path, algorithms: &[PublicAlgorithm]) -> Result<jwks::Set, Error> {
        jwks::parse(&self.file(file)?, algorithms).map_err(|source| Error::Jwks {
            issuer: self.issuer.to_owned(),
            file: file.to_owned(),
            source,
        })
    }

    fn file(&self, file: &Path) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::Read {
            issuer: self.issuer.to_owned(),
            file: file.to_owned(),
            source,
        };
        let limit = u64::try_from(self.bytes_max).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|opened| opened.take(limit.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(failed)?;
        if bytes.len() > self.bytes_max {
            return Err(Error::TooLarge {
                issuer: self.issuer.to_owned(),
                file: file.to_owned(),
                limit: self.bytes_max,
            });
        }
        Ok(bytes)
    }

    fn unusable(&self, place: String, unusable: Unusable) -> Error {
        Error::Key {
            issuer: self.issuer.to_owned(),
            place,
            unusable,
        }
    }
}
