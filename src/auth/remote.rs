//! The JWKS of an issuer, fetched ahead and kept: [`Remote::keep`] fetches it, requests only look at what is there.
//!
//! While the issuer is down, the last keys hold. A token whose key is unknown makes one fetch at once, but such fetches
//! are limited, unless one brought the key that was looked for: whoever makes up keys causes no traffic, and an issuer
//! who changes keys without a word ahead is followed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::auth::fetch;
use crate::auth::fetch::Fetcher;
use crate::auth::json;
use crate::auth::jwks;
use crate::auth::verify::VerifyingKey;
use crate::config;
use crate::config::PublicAlgorithm;

/// Longest pause before a failed fetch is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Why an issuer's keys are not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot fetch {url}")]
    Fetch {
        url: String,
        #[source]
        source: fetch::Error,
    },
    #[error("{url} is no discovery document with a jwks_uri")]
    Discovery { url: String },
    #[error("the discovery document is that of issuer {found:?}, must be {wanted:?}")]
    Issuer { found: String, wanted: String },
    #[error("the discovery document leads to {0:?}, which is not protected on its way")]
    Unprotected(String),
    #[error("cannot use the JWKS at {url}")]
    Jwks {
        url: String,
        #[source]
        source: jwks::Malformed,
    },
}

/// Where an issuer's keys are, and how they are used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Source {
    /// For the log.
    pub(super) name: String,
    /// The discovery document and the issuer that it must name, or none.
    pub(super) discovery: Option<(String, String)>,
    /// The JWKS, where there is no discovery document.
    pub(super) jwks_url: String,
    pub(super) algorithms: Vec<PublicAlgorithm>,
    pub(super) refresh: Duration,
    pub(super) unknown_key: Duration,
    pub(super) patience: Duration,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) source: Source,
    fetcher: Fetcher,
    state: Mutex<State>,
    wake: Notify,
    /// Counts fetches that have ended, well or not.
    ended: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    keys: Arc<Vec<VerifyingKey>>,
    /// Counts fetches that brought keys.
    generation: u64,
    is_fetching: bool,
    /// Whether another fetch is wanted.
    is_wanted: bool,
    /// When an unknown key last made a fetch that did not bring it.
    asked: Option<Instant>,
    next: Instant,
    failures: u64,
}

impl State {
    /// Puts the next fetch off; one that is too far away to be told is not put off.
    fn wait(&mut self, pause: Duration) {
        let now = Instant::now();
        self.next = now.checked_add(pause).unwrap_or(now);
    }
}

/// What a request sees: the keys, and which state of them.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) keys: Arc<Vec<VerifyingKey>>,
    pub(super) generation: u64,
}

impl Source {
    /// Whether the same keys are to be found there, used in the same way.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        let place = |source: &Self| (source.discovery.clone(), source.jwks_url.clone());
        place(self) == place(other) && self.algorithms == other.algorithms
    }
}

impl Remote {
    /// With the keys that are known of the same source, or without keys so far.
    pub(super) fn new(source: Source, config: &config::Auth, known: Option<Snapshot>) -> Self {
        let known = known.unwrap_or_default();
        Self {
            source,
            fetcher: Fetcher::new(config),
            state: Mutex::new(State {
                keys: known.keys,
                generation: known.generation,
                is_fetching: false,
                is_wanted: false,
                asked: None,
                next: Instant::now(),
                failures: 0,
            }),
            wake: Notify::new(),
            ended: watch::Sender::new(0),
        }
    }

    /// The keys as they are.
    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            keys: Arc::clone(&state.keys),
            generation: state.generation,
        }
    }

    /// Waits for keys that are newer than those that were seen, if there may be any; whether there are.
    pub(super) async fn newer(&self, seen: u64) -> bool {
        let (mut ended, target) = {
            let mut state = self.state();
            if state.generation != seen {
                return true;
            }
            let waiting_for = |fetches: u64| self.ended.borrow().saturating_add(fetches);
            let recently = state
                .asked
                .is_some_and(|at| at.elapsed() < self.source.unknown_key);
            let target = match (state.is_wanted, state.is_fetching, recently) {
                // The fetch that someone else waits for.
                (true, true, _) => waiting_for(2),
                (true, false, _) | (false, true, true) => waiting_for(1),
                (false, false, true) => return false,
                // One that is under way may have begun too early.
                (false, is_fetching, false) => {
                    state.asked = Some(Instant::now());
                    state.is_wanted = true;
                    self.wake.notify_one();
                    waiting_for(if is_fetching { 2 } else { 1 })
                }
            };
            (self.ended.subscribe(), target)
        };
        // Two documents, and one fetch that may be under way.
        let patience = self.source.patience.saturating_mul(4);
        // Late or not: what counts is what is there then.
        drop(timeout(patience, ended.wait_for(|count| *count >= target)).await);
        self.state().generation != seen
    }

    /// The key that was looked for is there: that fetch is not counted.
    pub(super) fn found(&self) {
        self.state().asked = None;
    }

    /// Fetches the keys again and again, when it is time and when they are asked for.
    pub(super) async fn keep(&self) {
        {
            // Whoever kept them before may have been stopped within a fetch.
            let mut state = self.state();
            state.is_wanted |= std::mem::take(&mut state.is_fetching);
        }
        loop {
            let (is_wanted, next) = {
                let state = self.state();
                (state.is_wanted, state.next)
            };
            if !is_wanted {
                tokio::select! {
                    () = self.wake.notified() => continue,
                    () = sleep_until(next) => {}
                }
            }
            self.fetch().await;
        }
    }

    /// Fetches the keys once. If that fails, those before hold.
    pub(super) async fn fetch(&self) {
        {
            let mut state = self.state();
            state.is_fetching = true;
            state.is_wanted = false;
        }
        let fetched = self.jwks().await;
        let mut state = self.state();
        state.is_fetching = false;
        let name = self.source.name.as_str();
        match fetched {
            Ok(set) => {
                if state.failures > 0 || state.generation == 0 {
                    let (keys, ignored) = (set.keys.len(), set.ignored);
                    tracing::info!(
                        issuer = name,
                        keys,
                        ignored,
                        "fetched the keys of an issuer"
                    );
                }
                let is_new = |key: &VerifyingKey| state.keys.iter().all(|old| old.id() != key.id());
                if set.keys.iter().any(is_new) {
                    // Right away, and not when a request has used it: the next change may come before that.
                    state.asked = None;
                }
                state.keys = Arc::new(set.keys);
                state.generation = state.generation.saturating_add(1);
                state.failures = 0;
                state.wait(self.source.refresh);
            }
            Err(error) => {
                let cause = chain(&error);
                let keys = state.keys.len();
                if state.failures == 0 {
                    tracing::warn!(
                        issuer = name,
                        cause,
                        keys,
                        "cannot fetch the keys of an issuer; those before hold"
                    );
                } else {
                    tracing::debug!(
                        issuer = name,
                        cause,
                        "still cannot fetch the keys of an issuer"
                    );
                }
                state.failures = state.failures.saturating_add(1);
                state.wait(self.source.refresh.min(RETRY));
            }
        }
        self.ended
            .send_modify(|count| *count = count.saturating_add(1));
    }

    async fn jwks(&self) -> Result<jwks::Set, Error> {
        let url = match &self.source.discovery {
            Some((url, issuer)) => self.discovered(url, issuer).await?,
            None => self.source.jwks_url.clone(),
        };
        let fetched = self.fetcher.get(&url).await;
        let document = fetched.map_err(|source| Error::Fetch {
            url: url.clone(),
            source,
        })?;
        jwks::parse(&document, &self.source.algorithms)
            .map_err(|source| Error::Jwks { url, source })
    }

    /// Where the discovery document says that the keys are. Source: OpenID Connect Discovery 1.0 §4.
    async fn discovered(&self, url: &str, issuer: &str) -> Result<String, Error> {
        let fetched = self.fetcher.get(url).await;
        let document = fetched.map_err(|source| Error::Fetch {
            url: url.to_owned(),
            source,
        })?;
        let unusable = || Error::Discovery {
            url: url.to_owned(),
        };
        let document = json::object(&document).ok_or_else(unusable)?;
        let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
        let found = text("issuer").ok_or_else(unusable)?;
        if found != issuer {
            return Err(Error::Issuer {
                found: found.to_owned(),
                wanted: issuer.to_owned(),
            });
        }
        let keys = text("jwks_uri").ok_or_else(unusable)?;
        // Who is elsewhere must not send this program to a port of this machine.
        let is_protected = keys.starts_with("https://") || url.starts_with("http://");
        if is_protected && config::is_fetchable(keys) {
            Ok(keys.to_owned())
        } else {
            Err(Error::Unprotected(keys.to_owned()))
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and the keys would be good nevertheless.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error and what caused it. It is told here because nobody waits for it.
fn chain(error: &Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
