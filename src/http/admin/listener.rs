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
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use memchr::memchr;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
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
    let body = match received(&admin, request).await {
        Ok((task, input)) => {
            tracing::info!(?task, "admin");
            StreamBody::new(work(admin, task, input)).boxed_unsync()
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

/// The task of a request and the file that comes with it, or what is wrong with them.
async fn received(
    admin: &Admin,
    request: Request<Incoming>,
) -> Result<(Task, Option<fs::File>), String> {
    if (request.method(), request.uri().path()) != (&Method::POST, TARGET) {
        return Err("the server knows POST /tasks only".to_owned());
    }
    let mut body = request.into_body();
    let line = timeout(TASK_TIMEOUT, first_line(&mut body)).await;
    let (line, rest) = line.map_err(|_| "the server did not get the task in time")??;
    let task: Task = serde_json::from_slice(&line).map_err(|error| {
        format!("the server does not know this task; is it another version? ({error})")
    })?;
    if !task.takes_input() {
        return Ok((task, None));
    }
    match kept(admin, rest, &mut body).await {
        Ok(file) => Ok((task, Some(file))),
        Err(sentence) => {
            // Read to its end, so that the answer is seen.
            while let Some(Ok(_)) = body.frame().await {}
            Err(sentence)
        }
    }
}

/// The line of the task, and what came behind it so far.
async fn first_line(body: &mut Incoming) -> Result<(Vec<u8>, Bytes), String> {
    let mut line = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the server did not get the task: {error}"))?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if let Some(end) = memchr(b'\n', &data) {
            line.extend_from_slice(&data.split_to(end));
            return Ok((line, data.split_off(1)));
        }
        line.extend_from_slice(&data);
        if line.len() > TASK_BYTES_MAX {
            return Err(format!(
                "the task has {} bytes, the limit is {TASK_BYTES_MAX}",
                line.len()
            ));
        }
    }
    Ok((line, Bytes::new()))
}

/// The file that comes with a task, kept until the task is done.
async fn kept(admin: &Admin, rest: Bytes, body: &mut Incoming) -> Result<fs::File, String> {
    let unkept = |error: io::Error| format!("the server cannot keep the file: {error}");
    let mut file = tokio::fs::File::from_std(admin.unnamed_file().map_err(unkept)?);
    let mut next = Some(rest);
    while let Some(data) = next {
        admin.check_room(u64::try_from(data.len()).unwrap_or(u64::MAX))?;
        file.write_all(&data).await.map_err(unkept)?;
        next = match body.frame().await {
            Some(frame) => {
                let frame =
                    frame.map_err(|error| format!("the server did not get the file: {error}"))?;
                Some(frame.into_data().unwrap_or_default())
            }
            None => None,
        };
    }
    file.flush().await.map_err(unkept)?;
    file.rewind().await.map_err(unkept)?;
    Ok(file.into_std().await)
}

/// The work and the lines that tell of it.
fn work(
    admin: Arc<Admin>,
    task: Task,
    input: Option<fs::File>,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let told = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|event| (event, receiver))
    });
    let done = stream::once(async move { admin.report(task, input, sender).await });
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
