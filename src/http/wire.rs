//! The socket as hyper sees it: every byte that comes in passes the gate, every write has a deadline.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::framing::Violation;
use crate::http::gate::Gate;

/// The first violation on a connection, and the request that it stands in. Read when a request is answered.
pub(super) type Found = Arc<OnceLock<(u64, Violation)>>;

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    gate: Gate,
    found: Found,
    write_timeout: Duration,
    /// When the write that the client does not take must be over.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, write_timeout: Duration) -> (Self, Found) {
        let found = Found::default();
        let wire = Self {
            socket,
            gate: Gate::new(),
            found: Arc::clone(&found),
            write_timeout,
            stalled: None,
        };
        (wire, found)
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

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        loop {
            if wire.gate.give(buffer) || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut wire.socket).poll_read(context, buffer))?;
            let fresh = buffer.filled().get(before..).unwrap_or_default();
            if fresh.is_empty() {
                wire.gate.end();
            } else if wire.gate.ignores(fresh) {
                wire.gate.skip(fresh);
                return Poll::Ready(Ok(()));
            } else {
                wire.gate.take(fresh);
            }
            let is_over = fresh.is_empty() && wire.gate.is_empty();
            buffer.set_filled(before);
            if let Some(found) = wire.gate.found() {
                // Only the first is kept: behind it, nothing can be told.
                let _ = wire.found.set(found);
            }
            if is_over {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.socket).poll_write(context, bytes);
        wire.in_time(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.socket).poll_write_vectored(context, slices);
        wire.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
