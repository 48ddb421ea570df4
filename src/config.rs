//! Every limit and every default, as plain data. Reads one file and the environment, nothing else.
//!
//! Order, the later wins: the defaults below, `pockit.toml`, `POCKIT_SECTION__KEY` in the environment, flags.
//! An unknown key, a value of the wrong kind or a pair of values that cannot work together stops the program.

mod auth;
mod http;
mod issuer;
mod load;
mod log;
mod metrics;
mod picture;
mod rate_limit;
mod storage;
mod tls;
mod validate;
mod workers;

use serde::{Deserialize, Serialize};

pub use auth::{Auth, SECRET_BYTES_MIN, Secret};
pub use http::{Cors, ForwardedHeader, Http};
pub use issuer::{
    Algorithm, HmacAlgorithm, Issuer, Key, PublicAlgorithm, is_fetchable, is_loopback,
};
pub use load::{Error, Examined, Mistake, Sources, examine, load, origins};
pub use log::Log;
pub use metrics::Metrics;
pub use picture::{HevcDecoder, Picture};
pub use rate_limit::RateLimit;
pub use storage::Storage;
pub use tls::Tls;
pub use validate::Problem;
pub use workers::Workers;

/// The whole configuration, one field a section of `pockit.toml`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[http]`: the listener and its limits.
    pub http: Http,
    /// `[tls]`: encryption by the server itself.
    pub tls: Tls,
    /// `[cors]`: which web pages may call the API.
    pub cors: Cors,
    /// `[auth]`: tokens and local accounts.
    pub auth: Auth,
    /// `[rate_limit]`: how often a user may do what.
    pub rate_limit: RateLimit,
    /// `[picture]`: what is accepted and what is made of it.
    pub picture: Picture,
    /// `[workers]`: where pictures are decoded.
    pub workers: Workers,
    /// `[storage]`: where everything is kept.
    pub storage: Storage,
    /// `[metrics]`: what is counted, for Prometheus.
    pub metrics: Metrics,
    /// `[log]`: what is said on stderr.
    pub log: Log,
}
