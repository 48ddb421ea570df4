//! The server's end of the admin socket.
//!
//! The work is a part of the answer's body: it goes on as fast as the client reads, and ends when the client goes
//! away. What it has written until then is whole, as every write is.

use std::convert::Infallible;
use std::fs;
use std::future::{Future, ready};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::admin::{Address, FILE_NAME, TARGET};
use crate::service::admin::{Admin, EVENTS_WAITING_MAX, Event, Task};

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest task, in bytes: a few names and a password.
const TASK_BYTES_MAX: usize = 64 * 1_024;
/// Time to receive a task; both ends are on this machine.
const TASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Events that go out together, if so many are ready.
const EVENTS_AT_ONCE_MAX: usize = 64;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The open socket. Its name is gone when this is dropped.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    file: PathBuf,
}

impl Listener {
    /// Opens the socket in a data directory that this process has for itself. One that a killed server has left
    /// behind is replaced.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        // Under another name until its mode is right: nobody else can connect in between.
        let name = format!("{FILE_NAME}.new");
        let new = data_dir.join(&name);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let inner = UnixListener::bind(Address::new(data_dir, &name)?.path)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        let file = data_dir.join(FILE_NAME);
        fs::rename(&new, &file)?;
        Ok(Self { inner, file })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.file));
    }
}

/// Serves until `shutdown` is ready; what is still at work then is ended.
pub async fn run(listener: Listener, admin: Arc<Admin>, shutdown: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.inner.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, Arc::clone(&admin)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of the admin socket");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(stream: UnixStream, admin: Arc<Admin>) {
    let service = service_fn(move |request| answer(Arc::clone(&admin), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TASK_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a command went away");
    }
}

async fn answer(
    admin: Arc<Admin>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let body = match task(request).await {
        Ok(task) => {
            tracing::info!(?task, "admin");
            StreamBody::new(work(admin, task)).boxed_unsync()
        }
        Err(sentence) => {
            let failed = line(&Event::Failed { sentence });
            StreamBody::new(stream::iter([Ok(Frame::data(failed.into()))])).boxed_unsync()
        }
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// The task of a request, or what is wrong with it.
async fn task(request: Request<Incoming>) -> Result<Task, String> {
    if (request.method(), request.uri().path()) != (&Method::POST, TARGET) {
        return Err("the server knows POST /tasks only".to_owned());
    }
    let body = Limited::new(request.into_body(), TASK_BYTES_MAX).collect();
    let body = match timeout(TASK_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(format!("the server did not get the task: {error}")),
        Err(_) => return Err("the server did not get the task in time".to_owned()),
    };
    serde_json::from_slice(&body).map_err(|error| {
        format!("the server does not know this task; is it another version? ({error})")
    })
}

/// The work and the lines that tell of it.
fn work(
    admin: Arc<Admin>,
    task: Task,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let told = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|event| (event, receiver))
    });
    let done = stream::once(async move { admin.report(task, sender).await });
    stream::select(told, done.filter_map(|()| ready(None)))
        .ready_chunks(EVENTS_AT_ONCE_MAX)
        .map(|events| {
            let lines: Vec<u8> = events.iter().flat_map(line).collect();
            Ok(Frame::data(lines.into()))
        })
}

fn line(event: &Event) -> Vec<u8> {
    // Nothing in an event is without a form in JSON.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line
}
