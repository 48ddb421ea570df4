//! The body of a request: read with deadlines, and drained if it is refused.
//!
//! An early refusal must be seen by the client. A server that closes while bytes still arrive makes the kernel send a
//! reset, which can destroy the answer before it is read. So a body that is dropped half-read is read on in the
//! background, within bounds, while the answer goes out.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::HeaderMap;
use hyper::header::{CONTENT_LENGTH, EXPECT};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config;
use crate::http::request::Refusal;

/// How long a refused client may send nothing before its connection is closed: long enough for what a network loses to be
/// sent again.
const DRAIN_IDLE: Duration = Duration::from_secs(3);

/// The body as it comes, from a socket or from a test.
pub(super) type RawBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What a body and the answer to its request know of each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Tie {
    answered: CancellationToken,
    unasked: Arc<AtomicBool>,
}

impl Tie {
    /// The answer is on its way when this is dropped.
    pub(super) fn until_answered(&self) -> DropGuard {
        self.answered.clone().drop_guard()
    }

    /// Whether the client waits for a `100 Continue` that will not come. Behind the answer it may send the body all the
    /// same, or its next request: the answer has to say that the connection ends.
    pub(super) fn is_unasked(&self) -> bool {
        self.unasked.load(Ordering::Relaxed)
    }
}

/// How long and how much is read, over all requests, too, and who reads on after a refusal. Clones share the room.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    idle: Duration,
    idle_ms: u64,
    total: Duration,
    total_ms: u64,
    rate_min: u64,
    rate_grace: Duration,
    drain_bytes_max: u64,
    drain: Duration,
    drainers: TaskTracker,
    /// Bytes that may yet be held of bodies that are no uploads.
    room: Arc<Semaphore>,
}

impl Bounds {
    pub(super) fn new(config: &config::Http, drainers: TaskTracker) -> Self {
        Self {
            idle: Duration::from_millis(config.body_idle_timeout_ms),
            idle_ms: config.body_idle_timeout_ms,
            total: Duration::from_millis(config.body_timeout_ms),
            total_ms: config.body_timeout_ms,
            rate_min: config.body_rate_bytes_min,
            rate_grace: Duration::from_millis(config.body_rate_grace_ms),
            drain_bytes_max: config.drain_bytes_max,
            drain: Duration::from_millis(config.drain_timeout_ms),
            drainers,
            room: Arc::new(Semaphore::new(
                usize::try_from(config.fields_bytes_max)
                    .unwrap_or(usize::MAX)
                    .min(Semaphore::MAX_PERMITS),
            )),
        }
    }
}

/// A body that was read whole, and the room that it takes.
struct Held {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A request's body.
#[derive(Debug)]
pub(super) struct Body {
    inner: Option<RawBody>,
    bounds: Bounds,
    tie: Tie,
    /// When the first byte was asked for.
    begun: Option<Instant>,
    received: u64,
    /// The client waits for `100 Continue`, which goes out with the first read: until then nothing is on its way.
    held_back: bool,
    announced: Option<u64>,
}

impl Body {
    pub(super) fn new(inner: RawBody, headers: &HeaderMap, bounds: Bounds, tie: Tie) -> Self {
        let held_back = headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        let announced = length.and_then(|length| length.parse().ok());
        Self {
            inner: Some(inner),
            bounds,
            tie,
            begun: None,
            received: 0,
            held_back,
            announced,
        }
    }

    /// `Content-Length`, in bytes, if the client sent one.
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Whether the client sends none: as known before a byte is read.
    pub(super) fn is_empty(&self) -> bool {
        let is_over = |inner: &RawBody| hyper::body::Body::is_end_stream(inner);
        self.announced == Some(0) || self.inner.as_ref().is_none_or(is_over)
    }

    /// Counts as announced from now on, unless the client announced a length itself: what has its room like the largest
    /// body has to be as quick as that.
    pub(super) fn expect(&mut self, bytes: u64) {
        self.announced.get_or_insert(bytes);
    }

    /// Does not count time that the client was kept waiting for something else.
    pub(super) fn forgive(&mut self, time: Duration) {
        self.begun = self.begun.map(|begun| later(begun, time));
    }

    /// Bytes that have come so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The next bytes; none at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Refusal>> {
        self.held_back = false;
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let deadline = later(begun, self.bounds.total);
        loop {
            let idle = later(Instant::now(), self.bounds.idle);
            let inner = self.inner.as_mut()?;
            let Ok(frame) = timeout_at(idle.min(deadline), inner.frame()).await else {
                self.drain();
                let idled = idle < deadline;
                let limit_ms = if idled {
                    self.bounds.idle_ms
                } else {
                    self.bounds.total_ms
                };
                return Some(Err(Refusal::Slow { limit_ms }));
            };
            match frame {
                None => {
                    self.inner = None;
                    return None;
                }
                Some(Err(_)) => {
                    self.inner = None;
                    return Some(Err(Refusal::Incomplete));
                }
                Some(Ok(frame)) => {
                    // Anything but data is trailers, which say nothing to us.
                    if let Ok(data) = frame.into_data() {
                        return Some(self.fast_enough(begun, &data).map(|()| data));
                    }
                }
            }
        }
    }

    /// Counts, and refuses a body that trickles: it would hold its room for the whole deadline.
    fn fast_enough(&mut self, begun: Instant, data: &Bytes) -> Result<(), Refusal> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(length);
        let elapsed = begun.elapsed();
        let limit = self.rate_min();
        let actual = self
            .received
            .checked_div(elapsed.as_secs())
            .unwrap_or(u64::MAX);
        if elapsed < self.bounds.rate_grace || actual >= limit {
            return Ok(());
        }
        self.drain();
        Err(Refusal::TooSlow { limit, actual })
    }

    /// The slowest that this body may arrive, in bytes a second: the configured rate, or half of what would bring an
    /// announced length in within the whole time. Slower ones would hold their room to the end, in vain.
    fn rate_min(&self) -> u64 {
        let doomed_below = self
            .announced
            .and_then(|announced| announced.checked_div(self.bounds.total.as_secs()))
            .map_or(0, |rate| rate / 2);
        self.bounds.rate_min.max(doomed_below)
    }

    /// Has what still comes read and dropped in the background: once the answer is on its way, if the client waits to be
    /// asked for it. Of a body that was too slow, too: its sender still sends, and is to see why that is in vain.
    fn drain(&mut self) {
        let Some(mut rest) = self.inner.take() else {
            return;
        };
        let Bounds {
            drain,
            drain_bytes_max,
            ..
        } = self.bounds;
        let tie = self.tie.clone();
        let unasked = self.held_back;
        tie.unasked.store(unasked, Ordering::Relaxed);
        let reading_on = async move {
            if unasked {
                // A read before the answer would send `100 Continue`.
                tie.answered.cancelled().await;
            }
            let mut left = drain_bytes_max;
            // Whoever sends nothing more has nothing to lose by the end of the connection.
            while let Ok(Some(Ok(frame))) = timeout(DRAIN_IDLE, rest.frame()).await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                if left == 0 {
                    break;
                }
            }
        };
        // Bounded by time and bytes, and waited for when the server stops.
        self.bounds
            .drainers
            .spawn(async move { drop(timeout(drain, reading_on).await) });
    }

    /// The whole body, at most `bytes_max` bytes. Room is taken for what has come, so that whoever announces much and
    /// sends nothing takes none, and given back when the last copy is dropped.
    pub(super) async fn collect(mut self, bytes_max: u64) -> Result<Bytes, Refusal> {
        let too_large = |actual| Refusal::BodyTooLarge {
            limit: bytes_max,
            actual,
        };
        if let Some(announced) = self.announced.filter(|announced| *announced > bytes_max) {
            return Err(too_large(Some(announced)));
        }
        let mut bytes = Vec::new();
        let mut room: Option<OwnedSemaphorePermit> = None;
        while let Some(data) = self.next().await {
            let data = data?;
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let more = Arc::clone(&self.bounds.room).try_acquire_many_owned(length);
            let more = more.map_err(|_| Refusal::BodiesFull)?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            bytes.extend_from_slice(&data);
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
                return Err(too_large(None));
            }
        }
        Ok(Bytes::from_owner(Held { bytes, _room: room }))
    }
}

/// A body as a stream, which others may read on when the stream is dropped. Between two pieces it pauses, so that whoever
/// gathers all that is ready looks at each piece.
pub(super) fn stream(
    body: Arc<Mutex<Body>>,
) -> impl Stream<Item = Result<Bytes, Refusal>> + Send + 'static {
    let mut pieces: Pin<Box<_>> = Box::pin(stream::unfold(body, |body| async move {
        let data = body.lock().await.next().await?;
        Some((data, body))
    }));
    let mut pauses = false;
    stream::poll_fn(move |context| {
        if std::mem::take(&mut pauses) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(pieces.as_mut().poll_next(context));
        pauses = piece.is_some();
        Poll::Ready(piece)
    })
}

impl Drop for Body {
    fn drop(&mut self) {
        self.drain();
    }
}

fn later(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration).unwrap_or(now)
}
