//! The section `[tls]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::validate::{Problem, push};

/// Most streams a connection that anyone could mean. The window of a connection, 128 KiB a stream, stays far below the
/// 2 GiB that the wire can say.
const STREAMS_MAX: u32 = 1_024;

/// `[tls]`: encryption by the server itself, where no proxy in front does it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// File with the certificate and those that lead to its root, PEM, the server's own first. With it, `http.listen` speaks TLS only; read again on SIGHUP.
    pub certificate_file: Option<PathBuf>,
    /// File with the private key of that certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// Whether clients may choose HTTP/2.
    pub http2: bool,
    /// Requests that one HTTP/2 connection may have open at once.
    pub http2_streams_max: u32,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate_file: None,
            key_file: None,
            http2: true,
            http2_streams_max: 32,
        }
    }
}

impl Tls {
    /// What of it cannot work.
    pub(super) fn problems(&self, found: &mut Vec<Problem>) {
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => push(
                found,
                "tls.key_file",
                "is not set, must be beside tls.certificate_file".to_owned(),
            ),
            (None, Some(_)) => push(
                found,
                "tls.certificate_file",
                "is not set, must be beside tls.key_file".to_owned(),
            ),
            _ => {}
        }
        if !(1..=STREAMS_MAX).contains(&self.http2_streams_max) {
            push(
                found,
                "tls.http2_streams_max",
                format!("is {}, must be 1 to {STREAMS_MAX}", self.http2_streams_max),
            );
        }
    }
}
