//! Keys over HTTPS: who is to be trusted is what the system, or `SSL_CERT_FILE`, says.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::client::position;
use crate::support::issuer::{Signer, jwks};
use crate::support::process::Process;
use crate::support::{PROFILE, Request, Setup};

/// An authority that exists for these tests only, and its certificate for `localhost`. Both hold until 2126.
const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBiDCCAS2gAwIBAgIUIeuBvwOiSi1NKA8VqXt2yPNPzWowCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFdGVzdHMwIBcNMjYxMTI2MjAwMjE1WhgPMjEyNjExMDIyMDAy
MTVaMBAxDjAMBgNVBAMMBXRlc3RzMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
gHdvb4ZTj2y8+ASSthJKbhihWWMw1hN7HHYKPdOhug8giR6SZYfvx7/kOS3rdLT/
MnFwA5b1GtrAH2jliOg/KqNjMGEwHQYDVR0OBBYEFBVMlduc8+rtJB4KBMIlKye7
RJd+MB8GA1UdIwQYMBaAFBVMlduc8+rtJB4KBMIlKye7RJd+MA8GA1UdEwEB/wQF
MAMBAf8wDgYDVR0PAQH/BAQDAgIEMAoGCCqGSM49BAMCA0kAMEYCIQCWTYajG9QR
Og160HsJbv6hq8MtWVPHCaQO2RctP3D/8QIhAOWzwIFZKAKmzQaJ+IYwmqMdYzw3
UGODSD1S4JjOFJED
-----END CERTIFICATE-----";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBoTCCAUagAwIBAgIUWCp/c2ls4RJmk0Qzf1jgV31Pvj0wCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFdGVzdHMwIBcNMjYxMTI2MjAwMjE2WhgPMjEyNjExMDIyMDAy
MTZaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABPSu61Hz7PCpcM6xjlqb2KaIelxv1ZayHz59Hz26K8GrIIZ7aBcufuLCCjvo
wxYAICbLWze1BjtMlnV1eyN9KCejeDB2MBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAJ
BgNVHRMEAjAAMBMGA1UdJQQMMAoGCCsGAQUFBwMBMB0GA1UdDgQWBBQyGyXmBi33
rFztPjaHSIZyOd0ekDAfBgNVHSMEGDAWgBQVTJXbnPPq7SQeCgTCJSsnu0SXfjAK
BggqhkjOPQQDAgNJADBGAiEA0W8QWxg1vRV2SWrO9baNMPe/HuQPqPSuc6MEZbyb
cX8CIQCLXhDr8YKmJIBOsTrPl4kv5BbzmkbnkG9p5bfJXN8vjQ==
-----END CERTIFICATE-----";
const CERTIFICATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvjqRu3VVNFcET4tF
l5F4nURFnXP8x4QMNPeG8H+NDEShRANCAAT0rutR8+zwqXDOsY5am9imiHpcb9WW
sh8+fR89uivBqyCGe2gXLn7iwgo76MMWACAmy1s3tQY7TJZ1dXsjfSgn
-----END PRIVATE KEY-----";

/// Answers every request over TLS with a document.
fn serve(document: String) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(CERTIFICATE_KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            let mut head = Vec::new();
            let mut buffer = [0; 4_096];
            // A client that does not trust us ends within the handshake.
            while position(&head, b"\r\n\r\n").is_none() {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => head.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            let length = document.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{document}");
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    address
}

#[test]
fn keys_come_over_https_from_whom_the_system_trusts_only() {
    let signer = Signer::p256();
    let port = serve(jwks(&[signer.jwk("k1")])).port();
    let token = signer.access("ES256", "k1", "ada");
    for (host, trusted, status) in [
        ("localhost", true, 200),
        ("localhost", false, 401),
        // The certificate is for a name.
        ("127.0.0.1", true, 401),
    ] {
        let table = format!("[{{ name = \"sso\", jwks_url = \"https://{host}:{port}/keys\" }}]");
        let home = Setup::new().set("auth.issuers", &table).home();
        let authority = home.path().join("authority.pem");
        // Without it, somebody else is trusted: the one whom the certificate is not of.
        fs::write(&authority, if trusted { AUTHORITY } else { CERTIFICATE }).unwrap();
        let mut command = home.command(&["serve"]);
        let mut process = Process::start(command.env("SSL_CERT_FILE", &authority), b"");
        let line = process.line().unwrap();
        let address = line.strip_prefix("listening on http://").unwrap();
        let address: SocketAddr = address.parse().unwrap();

        let reply = Request::get(PROFILE).bearer(&token).send(address);

        assert_eq!(reply.status, status, "{host} {trusted}: {}", process.log());
    }
}
