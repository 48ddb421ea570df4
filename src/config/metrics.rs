//! The section `[metrics]`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[metrics]`: what is counted, for Prometheus.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address and port of `GET /metrics`, apart from the API's. Without it nothing listens.
    pub listen: Option<SocketAddr>,
}
