//! A command's end of the admin socket.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::http::admin::{Address, FILE_NAME, TARGET};
use crate::service::admin::{Event, Task};

/// Parts in which a file goes to the server, in bytes.
const INPUT_BYTES: usize = 64 * 1_024;

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
    #[error("cannot read the file that goes with the task")]
    Input(#[source] io::Error),
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

/// A file that goes with a task.
#[derive(Debug)]
pub enum Input {
    /// There is none.
    None,
    /// This one, from its begin.
    File(fs::File),
    /// What comes on standard input.
    Stdin,
}

impl Input {
    fn reader(&self) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        Ok(match self {
            Self::None => None,
            Self::File(file) => Some(Box::new(tokio::fs::File::from_std(file.try_clone()?))),
            Self::Stdin => {
                let stdin = fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
                Some(Box::new(tokio::fs::File::from_std(stdin)))
            }
        })
    }
}

/// Asks the server that has this data directory; none if there is no server. The file goes behind the task's line.
///
/// # Errors
///
/// See [`Error`].
pub async fn ask(data_dir: &Path, task: &Task, input: &Input) -> Result<Option<Events>, Error> {
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
    let mut head = serde_json::to_vec(task).map_err(Error::Foreign)?;
    head.push(b'\n');
    let input = input.reader().map_err(Error::Input)?;
    let mut request = Request::new(StreamBody::new(body(head, input)));
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

/// The line of the task, then the file.
fn body(
    head: Vec<u8>,
    input: Option<Box<dyn AsyncRead + Send + Unpin>>,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
    let head = stream::iter([Ok(Frame::data(Bytes::from(head)))]);
    let rest = stream::unfold(input, |input| async move {
        let mut input = input?;
        let mut bytes = BytesMut::with_capacity(INPUT_BYTES);
        match input.read_buf(&mut bytes).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(Frame::data(bytes.freeze())), Some(input))),
            Err(error) => Some((Err(error), None)),
        }
    });
    head.chain(rest)
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
