//! Fetches small documents from issuers: the only code of this layer that opens connections.
//!
//! Bounded in time and size. HTTPS with the system's certificates; plain HTTP to this machine only, whatever a name
//! resolves to. A redirect is followed to the same host only. Nothing of a caller's request ever goes out.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::config;

/// Redirects that are followed for one document.
const REDIRECTS_MAX: usize = 3;
/// Room for the head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 65_536;

/// Why a document was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0:?} is no https URL, nor one of http on this machine")]
    Url(String),
    #[error("cannot connect to {authority}")]
    Connect {
        authority: String,
        #[source]
        source: io::Error,
    },
    #[error("{host} is {address}, which is not this machine, and http is not protected on its way")]
    NotHere { host: String, address: IpAddr },
    #[error("the system has no certificates to know issuers by")]
    NoCertificates,
    #[error("the connection broke off")]
    Broken(#[source] Box<dyn StdError + Send + Sync>),
    #[error("the answer is {0}, must be 200")]
    Status(u16),
    #[error("the answer is a redirect to {0:?}, which is elsewhere or one too many")]
    Redirect(String),
    #[error("the document has more than {0} bytes")]
    TooLarge(usize),
    #[error("there was no complete answer within {0} ms")]
    TimedOut(u64),
}

/// Fetches within limits.
pub(super) struct Fetcher {
    tls: Option<TlsConnector>,
    timeout_ms: u64,
    bytes_max: usize,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// With the limits of the configuration and the certificates of the system.
    pub(super) fn new(config: &config::Auth) -> Self {
        Self {
            tls: connector(),
            timeout_ms: config.jwks_timeout_ms,
            bytes_max: config.jwks_bytes_max,
        }
    }

    /// The document at a URL.
    pub(super) async fn get(&self, url: &str) -> Result<Bytes, Error> {
        let limit = Duration::from_millis(self.timeout_ms);
        let fetched = timeout(limit, self.follow(url)).await;
        fetched.unwrap_or(Err(Error::TimedOut(self.timeout_ms)))
    }

    async fn follow(&self, url: &str) -> Result<Bytes, Error> {
        let mut place = Place::parse(url)?;
        for _ in 0..=REDIRECTS_MAX {
            match self.ask(&place).await? {
                Answer::Document(document) => return Ok(document),
                Answer::Elsewhere(to) => place = place.moved(&to)?,
            }
        }
        Err(Error::Redirect(place.path))
    }

    async fn ask(&self, place: &Place) -> Result<Answer, Error> {
        let connect = |source| Error::Connect {
            authority: place.authority.clone(),
            source,
        };
        let stream = TcpStream::connect((place.host.as_str(), place.port))
            .await
            .map_err(connect)?;
        if !place.is_protected {
            let address = stream.peer_addr().map_err(connect)?.ip();
            if !address.is_loopback() {
                let host = place.host.clone();
                return Err(Error::NotHere { host, address });
            }
            return self.exchange(stream, place).await;
        }
        let tls = self.tls.as_ref().ok_or(Error::NoCertificates)?;
        let name = ServerName::try_from(place.host.clone())
            .map_err(|_| Error::Url(place.authority.clone()))?;
        let stream = tls.connect(name, stream).await.map_err(connect)?;
        self.exchange(stream, place).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        place: &Place,
    ) -> Result<Answer, Error> {
        let broken = |error: hyper::Error| Error::Broken(error.into());
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let _driven = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::get(&place.path)
            .header(HOST, &place.authority)
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .header(USER_AGENT, concat!("pockitd/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Error::Broken(error.into()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_redirection() {
            return Ok(Answer::Elsewhere(location(&response)));
        }
        if response.status() != hyper::StatusCode::OK {
            return Err(Error::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), self.bytes_max);
        match body.collect().await {
            Ok(collected) => Ok(Answer::Document(collected.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Error::TooLarge(self.bytes_max))
            }
            Err(error) => Err(Error::Broken(error)),
        }
    }
}

enum Answer {
    Document(Bytes),
    Elsewhere(String),
}

fn location<B>(response: &Response<B>) -> String {
    let field = response.headers().get(LOCATION);
    let text = field.and_then(|field| field.to_str().ok());
    text.unwrap_or_default().to_owned()
}

/// Speaks TLS with those whom the system trusts; none if it trusts nobody.
fn connector() -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

/// A URL, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    is_protected: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// As the `Host` field says it.
    authority: String,
    /// With the query.
    path: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self, Error> {
        let wrong = || Error::Url(url.to_owned());
        if !config::is_fetchable(url) {
            return Err(wrong());
        }
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_protected = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or_else(wrong)?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_protected,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri
                .port_u16()
                .unwrap_or(if is_protected { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }

    /// Where a redirect leads, if that is the same host.
    fn moved(&self, to: &str) -> Result<Self, Error> {
        let elsewhere = || Error::Redirect(to.to_owned());
        if to.starts_with('/') && !to.starts_with("//") {
            let uri: Uri = to.parse().map_err(|_| elsewhere())?;
            return Ok(Self {
                path: uri.to_string(),
                ..self.clone()
            });
        }
        let next = Self::parse(to).map_err(|_| elsewhere())?;
        let origin = |place: &Self| (place.is_protected, place.host.to_lowercase(), place.port);
        if origin(self) == origin(&next) {
            Ok(next)
        } else {
            Err(elsewhere())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_stays_on_its_host() {
        let place = Place::parse("https://example.org/a?b").unwrap();
        assert_eq!((place.port, place.path.as_str()), (443, "/a?b"));
        for (to, path) in [
            ("/c", "/c"),
            ("https://example.org/d", "/d"),
            ("https://EXAMPLE.org:443/e?f", "/e?f"),
        ] {
            assert_eq!(place.moved(to).unwrap().path, path, "{to}");
        }
        for to in [
            "",
            "c",
            "//example.net/",
            "http://example.org/",
            "https://example.org:444/",
            "https://www.example.org/",
            "https://example.org@example.net/",
            "http://127.0.0.1/",
            "file:///etc/passwd",
        ] {
            assert!(place.moved(to).is_err(), "{to}");
        }
    }
}
