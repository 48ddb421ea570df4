//! Whom the load generator trusts at an `https` URL.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// How connections to one host are encrypted. They resume the session of those before, as browsers and phones do.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    /// Who the certificate has to be for.
    pub(super) name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// With the certificates in a file, else with those of the system. `host` has no brackets.
    pub(super) fn new(host: &str, trusted: Option<&Path>) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate can be for"))?;
        let roots = match trusted {
            Some(file) => from_file(file)?,
            None => of_the_system()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("cannot set up TLS: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

fn from_file(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let cannot = |error: PemError| format!("cannot read the certificates in {shown}: {error}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(cannot)? {
        roots
            .add(certificate.map_err(cannot)?)
            .map_err(|error| format!("a certificate in {shown} cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("no certificate in {shown}: it must be PEM"));
    }
    Ok(roots)
}

fn of_the_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "the system has no certificates to know servers by; name a file of them with --ca"
                .to_owned(),
        );
    }
    Ok(roots)
}
