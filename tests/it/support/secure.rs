//! A client for TLS and HTTP/2, which looks at certificates.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{DEADLINE, Form, PICTURE, Reply, Server, Setup, fixture, strict};

pub type Sent = BoxBody<Bytes, std::io::Error>;

/// The file of a certificate (`one.pem`) or its key (`one.key`).
pub fn file(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    format!("{folder}/{name}")
}

/// A server with the first certificate.
pub fn setup() -> Setup {
    Setup::new()
        .set("tls.certificate_file", &format!("{:?}", file("one.pem")))
        .set("tls.key_file", &format!("{:?}", file("one.key")))
}

/// A handshake that trusts one certificate and offers these protocols.
pub async fn connect(
    address: SocketAddr,
    trusted: &str,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(file(trusted)).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    timeout(DEADLINE, connector.connect(name, stream))
        .await
        .expect("the handshake ends in time")
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Holds it against the rules for every answer, and those of HTTP/2: nothing of the connection (RFC 9113 §8.2.2).
    fn check(&self, method: &str) {
        // What the library says by itself of a head that is too large for it.
        if self.status == 431 && self.fields.is_empty() {
            return;
        }
        let fields = self.fields.iter().map(|(name, value)| {
            let value = value.to_str().expect("a text").to_owned();
            (name.as_str().to_owned(), value)
        });
        let reply = Reply {
            status: self.status,
            fields: fields.collect(),
            body: self.body.to_vec(),
        };
        strict::check(method, &reply);
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
            assert_eq!(reply.field(name), None, "{name} in HTTP/2");
        }
    }
}

/// A connection that speaks HTTP/2.
pub struct Http2 {
    pub sender: http2::SendRequest<Sent>,
    pub connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    pub async fn open(server: &Server) -> Self {
        // The window that the protocol begins with: an answer needs the client to ask for more.
        Self::open_with_window(server, 65_535).await
    }

    pub async fn open_with_window(server: &Server, window: u32) -> Self {
        let stream = connect(server.address(), "one.pem", &["h2"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        Self {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    pub async fn send(&mut self, request: hyper::Request<Sent>) -> hyper::Result<Answer> {
        let exchange = async {
            let method = request.method().to_string();
            self.sender.ready().await?;
            let reply = self.sender.send_request(request).await?;
            let (head, body) = reply.into_parts();
            let answer = Answer {
                status: head.status.as_u16(),
                fields: head.headers,
                body: body.collect().await?.to_bytes(),
            };
            answer.check(&method);
            Ok(answer)
        };
        timeout(DEADLINE, exchange).await.expect("an answer")
    }

    /// Whether the server ends the connection.
    pub async fn ends(self) -> bool {
        let Self { sender, connection } = self;
        let ended = timeout(DEADLINE, connection).await.is_ok();
        drop(sender);
        ended
    }
}

/// A request to the server by the name in its certificate.
pub fn request(method: &str, target: &str) -> hyper::http::request::Builder {
    hyper::Request::builder()
        .method(method)
        .uri(format!("https://localhost{target}"))
}

/// A body that is at hand.
pub fn whole(bytes: impl Into<Bytes>) -> Sent {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// An access token for a new user, made by the server's own commands.
pub fn token_of(server: &Server, email: &str) -> String {
    server.home().run(&["user", "add", email]).expect(0);
    let made = server.home().run(&["token", email, "--ttl", "1h"]);
    made.expect(0).stdout.trim().to_owned()
}

/// The upload of a fixture.
pub fn upload(access: &str, name: &str) -> hyper::Request<Sent> {
    let form = Form::image(&fixture(name));
    request("POST", PICTURE)
        .header("authorization", format!("Bearer {access}"))
        .header("content-type", form.content_type())
        .body(whole(form.bytes()))
        .unwrap()
}
