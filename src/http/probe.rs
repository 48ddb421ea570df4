//! Asks a server on this machine whether it is well: one GET, in plain or over TLS, with a deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::http::tls;

/// Longest answer that is read, in bytes: a health check answers with a line.
const ANSWER_BYTES_MAX: u64 = 16 * 1_024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("nothing answers at {0}: does the server run, and is http.listen the same?")]
    Silent(SocketAddr, #[source] io::Error),
    #[error("no answer from {address} within {limit_ms} ms")]
    Late { address: SocketAddr, limit_ms: u128 },
    #[error("{0} does not answer in HTTP: is [tls] the same as when the server started?")]
    NotHttp(SocketAddr),
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// An answer, as far as it matters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// `GET path`. The certificate is not looked at: this asks a machine about itself, by an address that no certificate
/// names, and sends nothing that anyone could want.
///
/// # Errors
///
/// See [`Error`].
pub async fn get(
    address: SocketAddr,
    over_tls: bool,
    path: &str,
    patience: Duration,
) -> Result<Answer, Error> {
    let asked = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| Error::Silent(address, error))?;
        let answer = if over_tls {
            let connector = TlsConnector::from(Arc::new(client().map_err(Error::Tls)?));
            let name = ServerName::IpAddress(address.ip().into());
            match connector.connect(name, stream).await {
                Ok(stream) => exchange(stream, path).await,
                Err(error) => Err(error),
            }
        } else {
            exchange(stream, path).await
        };
        let text = answer.map_err(|error| Error::Silent(address, error))?;
        parsed(&text).ok_or(Error::NotHttp(address))
    };
    timeout(patience, asked).await.unwrap_or_else(|_| {
        Err(Error::Late {
            address,
            limit_ms: patience.as_millis(),
        })
    })
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn parsed(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

fn client() -> Result<ClientConfig, rustls::Error> {
    let provider = tls::provider();
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
