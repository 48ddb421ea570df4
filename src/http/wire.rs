//! The socket as hyper sees it: every byte of HTTP/1.1 that comes in passes the gate, every write has a deadline. With TLS,
//! the socket is the decrypted one.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::framing::Violation;
use crate::http::gate::Gate;

/// The first violation on a connection, and the request that it stands in. Read when a request is answered.
pub(super) type Found = Arc<OnceLock<(u64, Violation)>>;

/// A connection.
#[derive(Debug)]
pub(super) struct Wire<S> {
    socket: S,
    /// For HTTP/1.1 only.
    gate: Option<(Gate, Found)>,
    /// Bytes that the socket took.
    written: Arc<AtomicU64>,
    write_timeout: Duration,
    /// When the write that the client does not take must be over.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// Looks at nothing that comes in.
    pub(super) fn new(socket: S, write_timeout: Duration) -> Self {
        Self {
            socket,
            gate: None,
            written: Arc::default(),
            write_timeout,
            stalled: None,
        }
    }

    /// Looks for requests of HTTP/1.1 that two servers could read differently.
    pub(super) fn watched(socket: S, write_timeout: Duration) -> (Self, Found) {
        let found = Found::default();
        let mut wire = Self::new(socket, write_timeout);
        wire.gate = Some((Gate::new(), Arc::clone(&found)));
        (wire, found)
    }

    /// How many bytes the socket has taken so far.
    pub(super) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }

    /// Counts what a write came to.
    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &written {
            let count = u64::try_from(*count).unwrap_or(u64::MAX);
            self.written.fetch_add(count, Ordering::Relaxed);
        }
        self.in_time(context, written)
    }

    /// A client that takes nothing for the whole timeout is given up: it would hold the answer in memory for ever.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let now = Instant::now();
        let deadline = now.checked_add(self.write_timeout).unwrap_or(now);
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let Some((gate, first)) = &mut wire.gate else {
            return Pin::new(&mut wire.socket).poll_read(context, buffer);
        };
        loop {
            if gate.give(buffer) || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut wire.socket).poll_read(context, buffer))?;
            let fresh = buffer.filled().get(before..).unwrap_or_default();
            if fresh.is_empty() {
                gate.end();
            } else if gate.ignores(fresh) {
                gate.skip(fresh);
                return Poll::Ready(Ok(()));
            } else {
                gate.take(fresh);
            }
            let is_over = fresh.is_empty() && gate.is_empty();
            buffer.set_filled(before);
            if let Some(found) = gate.found() {
                // Only the first is kept: behind it, nothing can be told.
                let _ = first.set(found);
            }
            if is_over {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.socket).poll_write(context, bytes);
        wire.wrote(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.socket).poll_write_vectored(context, slices);
        wire.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // With TLS, what was written may still be in memory.
        let wire = self.get_mut();
        let flushed = Pin::new(&mut wire.socket).poll_flush(context);
        wire.in_time(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let ended = Pin::new(&mut wire.socket).poll_shutdown(context);
        wire.in_time(context, ended)
    }
}
