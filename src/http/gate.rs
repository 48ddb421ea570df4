//! What hyper gets to see of the bytes that come in: heads that it will understand, and bodies.
//!
//! hyper answers a head that it cannot parse itself, without a body, a request id or a line in the log. So a head is held
//! back until it is whole and judged. In the place of a bad one hyper gets another that it can parse, and the answer
//! tells what was wrong; the bytes behind it become that request's body, which is dropped within bounds. No I/O.

use bytes::{Buf, BufMut, BytesMut};

use crate::http::framing::{Violation, Watcher};
use crate::http::head;
use crate::http::head::HEAD_BYTES_MAX;

/// Between what came in and what hyper reads.
#[derive(Debug)]
pub(super) struct Gate {
    watcher: Watcher,
    /// The head so far that is being read.
    held: Vec<u8>,
    /// With how many bytes an unfinished head is looked at next. Doubles, so that a head that drips costs little.
    look_at: usize,
    /// What hyper may read.
    released: BytesMut,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            watcher: Watcher::new(),
            held: Vec::new(),
            look_at: 0,
            released: BytesMut::new(),
        }
    }

    /// The first violation and the request, counted from 1, that it stands in.
    pub(super) const fn found(&self) -> Option<(u64, Violation)> {
        self.watcher.found()
    }

    /// Whether nothing waits for hyper.
    pub(super) fn is_empty(&self) -> bool {
        self.released.is_empty()
    }

    /// What waits for hyper.
    #[cfg(any(test, fuzzing))]
    pub(super) fn released(&self) -> &[u8] {
        &self.released
    }

    /// Whether hyper may have these bytes as they are: they lie within a body.
    pub(super) fn ignores(&self, bytes: &[u8]) -> bool {
        self.released.is_empty() && self.watcher.ignores(bytes)
    }

    /// Counts bytes that hyper has.
    pub(super) fn skip(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = self.watcher.step(bytes);
        }
    }

    /// Hands over what is released; whether that was anything.
    pub(super) fn give(&mut self, buffer: &mut tokio::io::ReadBuf<'_>) -> bool {
        let count = self.released.len().min(buffer.remaining());
        buffer.put(self.released.chunk().get(..count).unwrap_or_default());
        self.released.advance(count);
        if self.released.is_empty() {
            // Connections are many and most are silent: no buffer is kept for them.
            self.released = BytesMut::new();
        }
        count > 0
    }

    /// Takes what came in.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let head = self.watcher.head();
            let behind = self.watcher.step(rest);
            let (here, _) = rest.split_at(rest.len().saturating_sub(behind.len()));
            rest = behind;
            match head {
                None => self.released.extend_from_slice(here),
                Some(ordinal) => {
                    self.held.extend_from_slice(here);
                    self.judge(ordinal, rest);
                }
            }
        }
        let unfinished = self
            .watcher
            .head()
            .filter(|_| self.held.len() > self.look_at);
        if let Some(ordinal) = unfinished {
            self.look_at = self.held.len().saturating_mul(2);
            if let Err(violation) = head::judge(&self.held) {
                self.watcher.refuse(ordinal, violation);
                self.substitute(&[]);
            }
        }
    }

    /// Nothing more will come in: a head that has begun stays unfinished.
    pub(super) fn end(&mut self) {
        let Some(ordinal) = self.watcher.head() else {
            return;
        };
        let is_begun = !self.held.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        let violation = match head::judge(&self.held) {
            Err(violation) => violation,
            Ok(()) if is_begun => Violation::Incomplete,
            Ok(()) => return,
        };
        self.watcher.refuse(ordinal, violation);
        self.substitute(&[]);
    }

    /// Releases the held head if it is whole and good. `behind` are bytes that came with it.
    fn judge(&mut self, ordinal: u64, behind: &[u8]) {
        if self.watcher.found().is_some() {
            return self.substitute(behind);
        }
        let verdict = if self.held.len() > HEAD_BYTES_MAX {
            Err(head::too_large(&self.held))
        } else if self.watcher.head() == Some(ordinal) {
            return;
        } else {
            head::judge(&self.held)
        };
        if let Err(violation) = verdict {
            self.watcher.refuse(ordinal, violation);
            return self.substitute(behind);
        }
        self.look_at = 0;
        self.released
            .extend_from_slice(&std::mem::take(&mut self.held));
    }

    fn substitute(&mut self, behind: &[u8]) {
        let mut head = std::mem::take(&mut self.held);
        head.extend_from_slice(behind);
        self.released.extend_from_slice(&head::substitute(&head));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What hyper gets of bytes that arrive in pieces, and what was found.
    fn passed(wire: &[u8], size: usize) -> (Vec<u8>, Option<(u64, Violation)>) {
        let mut gate = Gate::new();
        for piece in wire.chunks(size) {
            if gate.ignores(piece) {
                gate.skip(piece);
                gate.released.extend_from_slice(piece);
            } else {
                gate.take(piece);
            }
        }
        gate.end();
        (gate.released().to_vec(), gate.found())
    }

    #[test]
    fn good_messages_pass_as_they_are() {
        let wire = concat!(
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na\nb\r\n",
            "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
        );
        for size in [1, 2, 3, 7, 50, 1_000] {
            assert_eq!(passed(wire.as_bytes(), size), (wire.into(), None), "{size}");
        }
    }

    #[test]
    fn nothing_of_a_bad_head_passes() {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let wire = format!("{good}GET /secret HTTP/9.9\r\nAccept: x/y\r\n\r\nrest");

        let (released, found) = passed(wire.as_bytes(), 1_000);

        let released = String::from_utf8(released).unwrap();
        assert_eq!(found, Some((2, Violation::Version)));
        assert!(released.starts_with(good), "{released}");
        assert!(
            !released.contains("secret") && !released.contains("9.9"),
            "{released}"
        );
        assert!(released.contains("accept: x/y\r\n"), "{released}");
    }

    #[test]
    fn head_that_breaks_off_is_incomplete() {
        for wire in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\n\r\nGET"] {
            assert_eq!(
                passed(wire.as_bytes(), 4).1,
                Some((1, Violation::Incomplete)),
                "{wire:?}"
            );
        }
        for wire in ["", "\r\n"] {
            assert_eq!(passed(wire.as_bytes(), 4).1, None, "{wire:?}");
        }
    }

    #[test]
    fn blank_bytes_that_are_no_line_end_are_a_bad_head_however_they_come() {
        for wire in ["\r\x0C", "\r\r", "\x0C", "\r\n \r\n"] {
            for size in [1, 10] {
                let found = passed(wire.as_bytes(), size).1.map(|(at, _)| at);
                assert_eq!(found, Some(1), "{wire:?} by {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn verdict_does_not_depend_on_the_pieces(
            wire in "(GET /|POST /x| HTTP/1.1\r\n|Host: a\r\n|Content-Length: 3\r\n|\r\n|\n|[a-f0-9]{1,3}|: |\0){0,30}",
            size in 1_usize..9,
        ) {
            let whole = passed(wire.as_bytes(), 10_000).1.map(|(at, _)| at);
            prop_assert_eq!(passed(wire.as_bytes(), size).1.map(|(at, _)| at), whole);
        }
    }
}
