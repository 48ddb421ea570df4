//! Encryption by the server itself: certificate files, handshakes, and another certificate while connections go on.
//!
//! The certificate is looked up at each handshake, so that a new one needs no restart and ends no connection.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config;

/// Names of protocols in a handshake. Source: RFC 7301 §6, RFC 9113 §3.2.
const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// Why the certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot read {what} in {file}")]
    Read {
        what: &'static str,
        file: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("no certificate in {0}: it must have one or more of -----BEGIN CERTIFICATE-----")]
    NoCertificate(PathBuf),
    #[error("the certificate in {certificate} and the key in {key} cannot be used together")]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// What handshakes need. Cheap to clone; all clones change their certificate together.
#[derive(Clone, Debug)]
pub struct Tls {
    certificate_file: PathBuf,
    key_file: PathBuf,
    current: Arc<Current>,
    /// For clients that may choose their version of HTTP.
    any: Acceptor,
    /// While the store is being opened: HTTP/1.1 only.
    first: Acceptor,
}

/// An acceptor that can be shown.
#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Acceptor")
    }
}

impl Tls {
    /// Reads the files; none without any.
    ///
    /// # Errors
    ///
    /// Files that cannot be read, are not PEM, or do not belong together.
    pub fn load(config: &config::Tls) -> Result<Option<Self>, Error> {
        let (Some(certificate_file), Some(key_file)) = (&config.certificate_file, &config.key_file)
        else {
            return Ok(None);
        };
        let certified = read(certificate_file, key_file)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let http_1 = vec![HTTP_1.to_vec()];
        let both = if config.http2 {
            vec![HTTP_2.to_vec(), HTTP_1.to_vec()]
        } else {
            http_1.clone()
        };
        Ok(Some(Self {
            certificate_file: certificate_file.clone(),
            key_file: key_file.clone(),
            any: acceptor(&current, both)?,
            first: acceptor(&current, http_1)?,
            current,
        }))
    }

    /// Reads the files anew. Handshakes from now on use what is in them; connections that there are go on.
    ///
    /// # Errors
    ///
    /// As [`Tls::load`]; then all stays as it was.
    pub fn reload(&self) -> Result<(), Error> {
        let certified = Arc::new(read(&self.certificate_file, &self.key_file)?);
        *self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    /// The handshake, within a time. The client has chosen HTTP/2 if [`is_http2`] says so.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        patience: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        timeout(patience, self.any.0.accept(stream)).await?
    }

    /// As [`Tls::accept`], for HTTP/1.1 only.
    pub(super) async fn accept_http1(
        &self,
        stream: TcpStream,
        patience: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        timeout(patience, self.first.0.accept(stream)).await?
    }
}

/// What the client chose in the handshake.
pub(super) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}

/// The certificate of the next handshake.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// The library for all cryptography of this program.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn acceptor(current: &Arc<Current>, protocols: Vec<Vec<u8>>) -> Result<Acceptor, Error> {
    // TLS 1.2 and 1.3, with the suites that the library offers: all of them have forward secrecy.
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(current);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::Setup)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols;
    Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
}

fn read(certificate_file: &Path, key_file: &Path) -> Result<CertifiedKey, Error> {
    let unreadable = |what, file: &Path| {
        let file = file.to_owned();
        move |source| Error::Read { what, file, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable("the certificate", certificate_file))?;
    if chain.is_empty() {
        return Err(Error::NoCertificate(certificate_file.to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_file(key_file).map_err(unreadable("the private key", key_file))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| {
        Error::Pair {
            certificate: certificate_file.to_owned(),
            key: key_file.to_owned(),
            source,
        }
    })
}
