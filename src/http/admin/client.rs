//! A command's end of the admin socket.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use memchr::memchr;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::http::admin::{Address, FILE_NAME, TARGET};
use crate::service::admin::{Event, Task};

/// Why a server that is there did not do it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot reach the server at {socket}")]
    Connect {
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the server went away before it was done")]
    Lost(#[source] hyper::Error),
    #[error("the server stopped before it was done")]
    Stopped,
    #[error("the server's answer is not understood; is it another version?")]
    Foreign(#[source] serde_json::Error),
}

/// The events of a task that a server works on. Dropped, they end the work.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    received: Vec<u8>,
    /// Drives the connection.
    _connection: JoinSet<()>,
}

/// Asks the server that has this data directory; none if there is no server.
///
/// # Errors
///
/// See [`Error`].
pub async fn ask(data_dir: &Path, task: &Task) -> Result<Option<Events>, Error> {
    let failed = |source| Error::Connect {
        socket: data_dir.join(FILE_NAME),
        source,
    };
    let stream = match connect(data_dir).await {
        Ok(stream) => stream,
        // A killed server leaves its socket behind, which then refuses.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Error::Lost)?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Its errors show where the answer is read.
        drop(connection.await);
    });
    let body = serde_json::to_vec(task).map_err(Error::Foreign)?;
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = hyper::Uri::from_static(TARGET);
    let fields = request.headers_mut();
    fields.insert(HOST, hyper::header::HeaderValue::from_static("pockitd"));
    let json = hyper::header::HeaderValue::from_static("application/json");
    fields.insert(CONTENT_TYPE, json);
    let response = sender.send_request(request).await.map_err(Error::Lost)?;
    Ok(Some(Events {
        body: response.into_body(),
        received: Vec::new(),
        _connection: driver,
    }))
}

async fn connect(data_dir: &Path) -> io::Result<UnixStream> {
    let address = Address::new(data_dir, FILE_NAME)?;
    UnixStream::connect(&address.path).await
}

impl Events {
    /// The next event.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] or [`Error::Lost`] if there is none, [`Error::Foreign`].
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(end) = memchr(b'\n', &self.received) {
                let rest = self.received.split_off(end.saturating_add(1));
                let line = std::mem::replace(&mut self.received, rest);
                return serde_json::from_slice(&line).map_err(Error::Foreign);
            }
            let frame = self.body.frame().await.ok_or(Error::Stopped)?;
            let frame = frame.map_err(Error::Lost)?;
            if let Some(data) = frame.data_ref() {
                self.received.extend_from_slice(data);
            }
        }
    }
}
