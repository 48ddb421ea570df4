//! The public key in an X.509 certificate, which is how many issuers hand out their keys.
//!
//! Nothing else of it is asked: whoever names it in the configuration, or published it in the issuer's own set, has said
//! that its key is to be believed. Its dates, names and signature decide about connections, not about tokens.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The `SubjectPublicKeyInfo` of a certificate of version 3 in DER (RFC 5280 §4.1); none for what is not one.
pub(super) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let der = CertificateDer::from(der);
    let certificate = EndEntityCert::try_from(&der).ok()?;
    Some(certificate.subject_public_key_info().to_vec())
}
