//! The load generator's HTTP/1.1 client, in plain or over TLS: one connection, one request at a time, every wait bounded.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::bench_upload::tls::Tls;

/// Largest answer that is taken, in bytes: more than any picture that a server delivers.
const ANSWER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Where a server listens.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// `host:port`, as it is connected to and as the Host field says.
    authority: String,
    /// What stands before every path; empty or with a slash in front and none at the end.
    prefix: String,
    /// None for plain HTTP.
    tls: Option<Tls>,
}

impl Endpoint {
    /// From `http[s]://host[:port][/prefix]`, and a file of the certificates to trust in place of the system's.
    pub(super) fn parse(url: &str, trusted: Option<&Path>) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{url:?} is not a URL such as http://127.0.0.1:8080 or https://pictures.example.org"
            )
        };
        let (is_protected, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://"))
        {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(wrong()),
        };
        if !is_protected && let Some(file) = trusted {
            let file = file.display();
            return Err(format!(
                "{url} is not encrypted: nothing is to be proved with {file}"
            ));
        }
        let uri: hyper::Uri = format!("http://{rest}").parse().map_err(|_| wrong())?;
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(wrong)?;
        let tls = is_protected
            .then(|| Tls::new(host.trim_matches(['[', ']']), trusted))
            .transpose()?;
        let port = if is_protected { 443 } else { 80 };
        Ok(Self {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(port)),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls,
        })
    }

    /// The path of this server's API.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// For people.
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("no TLS handshake")]
    Handshake(#[source] io::Error),
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the connection ended before the answer did")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the request cannot be written: {0}")]
    Unsendable(hyper::http::Error),
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) method: &'static str,
    /// With its prefix.
    pub(super) path: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: Bytes,
}

impl<'a> Outgoing<'a> {
    /// A GET without a body.
    pub(super) fn get(path: &'a str, token: Option<&'a str>) -> Self {
        Self {
            method: "GET",
            path,
            token,
            content_type: None,
            body: Bytes::new(),
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

/// A client with at most one connection, kept between requests where asked for.
pub(super) struct Client {
    endpoint: Endpoint,
    keep_alive: bool,
    patience: Duration,
    kept: Option<Connection>,
}

impl Client {
    pub(super) fn new(endpoint: Endpoint, keep_alive: bool, patience: Duration) -> Self {
        Self {
            endpoint,
            keep_alive,
            patience,
            kept: None,
        }
    }

    /// Sends and waits for the whole answer, connecting first where that is needed.
    pub(super) async fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let patience = self.patience;
        let exchange = timeout(patience, self.exchange(outgoing));
        exchange.await.unwrap_or(Err(Failure::TimedOut(patience)))
    }

    async fn exchange(&mut self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let mut request = self.request(outgoing).map_err(Failure::Unsendable)?;
        // A kept connection may have been closed while it was idle. Nothing of the request has left then.
        if let Some(connection) = self.kept.take() {
            match self.over(connection, request).await {
                Ok(answer) => return Ok(answer),
                Err((failure, None)) => return Err(failure),
                Err((_, Some(unsent))) => request = unsent,
            }
        }
        let connection = self.connect().await?;
        self.over(connection, request)
            .await
            .map_err(|(failure, _)| failure)
    }

    fn request(&self, outgoing: &Outgoing<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut builder = Request::builder()
            .method(Method::from_bytes(outgoing.method.as_bytes())?)
            .uri(outgoing.path)
            .header(HOST, &self.endpoint.authority);
        if let Some(token) = outgoing.token {
            builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(content_type) = outgoing.content_type {
            builder = builder.header(CONTENT_TYPE, content_type);
        }
        if !self.keep_alive {
            builder = builder.header(CONNECTION, HeaderValue::from_static("close"));
        }
        builder.body(Full::new(outgoing.body.clone()))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(&self.endpoint.authority)
            .await
            .map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        match &self.endpoint.tls {
            None => opened(stream).await,
            Some(tls) => {
                let handshake = tls.connector.connect(tls.name.clone(), stream);
                opened(handshake.await.map_err(Failure::Handshake)?).await
            }
        }
    }

    /// One exchange over a connection, which is kept if it may be. A request that has not left is handed back.
    async fn over(
        &mut self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, (Failure, Option<Request<Full<Bytes>>>)> {
        let broken = |error| (Failure::Broken(error), None);
        if connection.sender.ready().await.is_err() {
            let gone = io::Error::from(io::ErrorKind::ConnectionReset);
            return Err((Failure::Broken(gone.into()), Some(request)));
        }
        let response = match connection.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                let unsent = error.take_message();
                return Err((Failure::Broken(error.into_error().into()), unsent));
            }
        };
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(broken)?.to_bytes();
        if self.keep_alive {
            self.kept = Some(connection);
        }
        Ok(Answer { status, body })
    }
}

async fn opened(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, Failure> {
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::Broken(error.into()))?;
    // What breaks the connection is also what the request fails with.
    let driver = tokio::spawn(async move { drop(driver.await) });
    Ok(Connection {
        sender,
        _driver: AbortOnDropHandle::new(driver),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_has_a_port_and_a_prefix() {
        let endpoint = Endpoint::parse("http://127.0.0.1:8080/", None).unwrap();
        assert_eq!(endpoint.path("/healthz"), "/healthz");
        assert_eq!(endpoint.url(), "http://127.0.0.1:8080");
        let endpoint = Endpoint::parse("http://[::1]/pictures/", None).unwrap();
        assert_eq!(endpoint.path("/healthz"), "/pictures/healthz");
        assert_eq!(endpoint.authority, "[::1]:80");
    }

    #[test]
    fn endpoint_of_https_is_encrypted_at_its_own_port_for_its_host() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/one.pem");
        for (url, told, name) in [
            ("https://localhost", "https://localhost:443", "localhost"),
            ("https://[::1]:8443/", "https://[::1]:8443", "::1"),
        ] {
            let endpoint = Endpoint::parse(url, Some(Path::new(file))).unwrap();
            assert_eq!(endpoint.url(), told);
            assert_eq!(endpoint.tls.unwrap().name.to_str(), name);
        }
    }

    #[test]
    fn endpoint_that_cannot_be_reached_by_this_client_is_refused_in_words() {
        for url in [
            "",
            "127.0.0.1:8080",
            "ftp://x",
            "http://",
            "http:// x",
            "https://",
        ] {
            let refused = Endpoint::parse(url, None).unwrap_err();
            assert!(refused.contains("is not a URL"), "{url}: {refused}");
        }
        for (url, file, words) in [
            ("http://x", "any.pem", "not encrypted"),
            ("https://x", "/nowhere/ca.pem", "/nowhere/ca.pem"),
            ("https://x", "/dev/null", "no certificate in /dev/null"),
        ] {
            let refused = Endpoint::parse(url, Some(Path::new(file))).unwrap_err();
            assert!(refused.contains(words), "{url}: {refused}");
        }
    }
}
