//! Watches the raw bytes of a connection for requests that two servers could read differently.
//!
//! Request smuggling (RFC 9112 §11.2) lives on messages whose end is a matter of opinion: two lengths, a length beside
//! chunks, lines that end in a bare LF. hyper accepts some of these as the standard allows; this server refuses all, so
//! that no proxy in front of it can be of another opinion. The watcher only looks: it follows the framing from message
//! to message and remembers the first violation and the request that it stands in. What a head may say beside its
//! framing is judged in `head`. Pure.

/// What is wrong with a message. The sentence is shown to the sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Violation {
    #[error("The request line is malformed.")]
    RequestLine,
    #[error("The request target is malformed.")]
    Target,
    #[error("A header field of the request is malformed.")]
    Field,
    #[error("The request head is incomplete.")]
    Incomplete,
    #[error("The HTTP version is not supported: this server speaks HTTP/1.0 and HTTP/1.1.")]
    Version,
    #[error("The request line is too long: it has more than {limit} bytes, which is the limit.")]
    LineTooLong { limit: usize },
    #[error("The request head is too large: it has more than {limit} bytes, which is the limit.")]
    HeadTooLarge { limit: usize },
    #[error("The request has more than {limit} header fields, which is the limit.")]
    TooManyFields { limit: usize },
    #[error("HTTP/1.0 knows no Transfer-Encoding.")]
    OldChunks,
    #[error("The request has both Content-Length and Transfer-Encoding.")]
    LengthAndChunks,
    #[error("The request has more than one Content-Length.")]
    TwoLengths,
    #[error("The Content-Length of the request is not a number.")]
    Length,
    #[error("The only Transfer-Encoding that is understood is chunked, once.")]
    TransferEncoding,
    #[error("Lines of the request must end in CR LF.")]
    LineEnd,
    #[error("A header field of the request is continued on another line.")]
    Folded,
    #[error("The chunks of the request are malformed.")]
    Chunks,
}

impl Violation {
    /// Stable name for programs.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::RequestLine | Self::Target | Self::Field | Self::Incomplete => "bad_request",
            Self::Version => "unsupported_version",
            Self::LineTooLong { .. } => "target_too_long",
            Self::HeadTooLarge { .. } | Self::TooManyFields { .. } => "head_too_large",
            Self::LengthAndChunks
            | Self::TwoLengths
            | Self::Length
            | Self::TransferEncoding
            | Self::OldChunks
            | Self::LineEnd
            | Self::Folded
            | Self::Chunks => "bad_framing",
        }
    }

    /// The limit that was passed, if there is one.
    pub(super) fn limit(self) -> Option<u64> {
        match self {
            Self::LineTooLong { limit }
            | Self::HeadTooLarge { limit }
            | Self::TooManyFields { limit } => u64::try_from(limit).ok(),
            _ => None,
        }
    }
}

/// Longest line that is kept, in bytes. What is longer cannot be one of the fields that decide the framing.
const LINE_BYTES_MAX: usize = 256;
/// Most digits of a chunk's size: those of 64 bits. More of them can only be zeros in front, which servers count
/// differently.
const CHUNK_SIZE_DIGITS_MAX: usize = 16;

#[derive(Debug)]
enum State {
    /// In the head of a message; true once its request line is over.
    Head { begun: bool },
    /// In a body with this many bytes to come.
    Body(u64),
    /// In the line with a chunk's size.
    ChunkSize,
    /// In a chunk with this many bytes to come, its CR LF included.
    Chunk(u64),
    /// Behind the last chunk.
    Trailers,
    /// After a violation: nothing can be said any more.
    Lost,
}

/// Follows the messages of one connection.
#[derive(Debug)]
pub(super) struct Watcher {
    state: State,
    line: Vec<u8>,
    line_length: usize,
    length: Option<u64>,
    chunked: bool,
    /// Heads that are over, plus the one that is being read.
    ordinal: u64,
    found: Option<(u64, Violation)>,
}

impl Watcher {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Head { begun: false },
            line: Vec::new(),
            line_length: 0,
            length: None,
            chunked: false,
            ordinal: 1,
            found: None,
        }
    }

    /// The first violation and the request, counted from 1, that it stands in.
    pub(super) const fn found(&self) -> Option<(u64, Violation)> {
        self.found
    }

    /// The request, counted from 1, whose head is being read or comes next; none within a body or after a violation.
    pub(super) const fn head(&self) -> Option<u64> {
        match self.state {
            State::Head { .. } => Some(self.ordinal),
            _ => None,
        }
    }

    /// Whether these bytes say nothing of the framing: they lie within a body, or behind a violation.
    pub(super) fn ignores(&self, bytes: &[u8]) -> bool {
        match self.state {
            State::Lost => true,
            State::Body(left) | State::Chunk(left) => {
                u64::try_from(bytes.len()).is_ok_and(|length| length < left)
            }
            State::Head { .. } | State::ChunkSize | State::Trailers => false,
        }
    }

    /// Notes what others found wrong with the head of a request.
    pub(super) fn refuse(&mut self, ordinal: u64, violation: Violation) {
        self.found = self.found.or(Some((ordinal, violation)));
        self.state = State::Lost;
    }

    /// Looks at the next bytes of the connection: up to the end of a line or of a part of a body. Answers with the rest.
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match &mut self.state {
            State::Lost => &[],
            State::Body(left) | State::Chunk(left) => {
                let here = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
                if *left == 0 {
                    self.part_over();
                }
                bytes.get(here..).unwrap_or_default()
            }
            State::Head { .. } | State::ChunkSize | State::Trailers => self.watch_line(bytes),
        }
    }

    /// Takes bytes up to the end of the line; answers with the rest.
    fn watch_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (here, rest) = end.map_or((bytes, &[][..]), |end| {
            let (here, rest) = bytes.split_at(end);
            (here, rest.get(1..).unwrap_or_default())
        });
        // The last two bytes decide how a line ended: keep the begin, and always the last byte.
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.line
            .extend_from_slice(here.get(..room.min(here.len())).unwrap_or_default());
        self.line_length = self.line_length.saturating_add(here.len());
        if self.line_length > LINE_BYTES_MAX
            && let (Some(kept), Some(last)) = (self.line.last_mut(), here.last())
        {
            *kept = *last;
        }
        if end.is_some() {
            let mut line = std::mem::take(&mut self.line);
            let overlong = std::mem::take(&mut self.line_length) > LINE_BYTES_MAX;
            if line.pop() == Some(b'\r') {
                self.line_over(&line, overlong);
            } else {
                self.violated(Violation::LineEnd);
            }
            line.clear();
            self.line = line;
        }
        rest
    }

    fn line_over(&mut self, line: &[u8], overlong: bool) {
        match self.state {
            // Empty lines before a request line are to be ignored: RFC 9112 §2.2.
            State::Head { begun: false } if line.is_empty() => {}
            State::Head { begun: false } => self.state = State::Head { begun: true },
            State::Head { begun: true } if line.is_empty() => self.head_over(),
            State::Head { begun: true } => self.field(line, overlong),
            State::ChunkSize => self.chunk_size(line),
            State::Trailers if line.is_empty() => self.part_over(),
            State::Trailers | State::Body(_) | State::Chunk(_) | State::Lost => {}
        }
    }

    fn field(&mut self, line: &[u8], overlong: bool) {
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            return self.violated(Violation::Folded);
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return;
        };
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = str::from_utf8(value)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            match (self.length, digits.and_then(|digits| digits.parse().ok())) {
                (Some(_), _) => self.violated(Violation::TwoLengths),
                (None, _) if overlong => self.violated(Violation::Length),
                (None, None) => self.violated(Violation::Length),
                (None, length) => self.length = length,
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || overlong || !value.eq_ignore_ascii_case(b"chunked") {
                self.violated(Violation::TransferEncoding);
            }
            self.chunked = true;
        }
    }

    fn head_over(&mut self) {
        let length = self.length.take();
        self.state = match (std::mem::take(&mut self.chunked), length) {
            (true, Some(_)) => return self.violated(Violation::LengthAndChunks),
            (true, None) => State::ChunkSize,
            (false, Some(length)) if length > 0 => State::Body(length),
            (false, _) => State::Head { begun: false },
        };
        self.ordinal = self.ordinal.saturating_add(1);
    }

    fn chunk_size(&mut self, line: &[u8]) {
        let digits = line
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii_end();
        let is_size = (1..=CHUNK_SIZE_DIGITS_MAX).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_hexdigit);
        let size = str::from_utf8(digits).ok().filter(|_| is_size);
        match size.and_then(|size| u64::from_str_radix(size, 16).ok()) {
            None => self.violated(Violation::Chunks),
            Some(0) => self.state = State::Trailers,
            Some(size) => self.state = State::Chunk(size.saturating_add(2)),
        }
    }

    /// A chunk ends where the next one's size begins; a body or trailers where the next head begins.
    fn part_over(&mut self) {
        self.state = match self.state {
            State::Chunk(_) => State::ChunkSize,
            _ => State::Head { begun: false },
        };
    }

    fn violated(&mut self, violation: Violation) {
        // In a body, the head before it was the request's.
        let head = matches!(self.state, State::Head { .. });
        let ordinal = if head {
            self.ordinal
        } else {
            self.ordinal.saturating_sub(1)
        };
        self.refuse(ordinal, violation);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watch_all(watcher: &mut Watcher, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = watcher.step(bytes);
        }
    }

    fn watch(wire: &str) -> Option<(u64, Violation)> {
        let mut watcher = Watcher::new();
        watch_all(&mut watcher, wire.as_bytes());
        watcher.found()
    }

    #[test]
    fn ordinary_requests_one_after_the_other_are_fine() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let long = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n",
            "x".repeat(5_000)
        );
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na\nb\nc";
        let chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\na\nb\nc\r\n0\r\nX: y\r\n\r\n";

        assert_eq!(
            watch(&[get, &long, post, chunks, "\r\n", get].concat()),
            None
        );
    }

    #[test]
    fn each_ambiguity_is_found_in_its_request() {
        let ok = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = |fields: &str| format!("{ok}POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        for (fields, violation) in [
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Violation::LengthAndChunks,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                Violation::LengthAndChunks,
            ),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                Violation::TwoLengths,
            ),
            ("Content-Length: +5\r\n", Violation::Length),
            ("Content-Length: 5, 5\r\n", Violation::Length),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Violation::TransferEncoding,
            ),
            (
                "Transfer-Encoding: xchunked\r\n",
                Violation::TransferEncoding,
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                Violation::TransferEncoding,
            ),
            (
                &format!("Content-Length: {}5\r\n", "0".repeat(300)),
                Violation::Length,
            ),
            ("X: y\n", Violation::LineEnd),
            ("X: y\r\n z\r\n", Violation::Folded),
            (
                "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
                Violation::Chunks,
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
                Violation::Chunks,
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n00000000000000005\r\n",
                Violation::Chunks,
            ),
            (
                &format!("Transfer-Encoding: chunked\r\n\r\n{}5\r\n", "0".repeat(300)),
                Violation::Chunks,
            ),
        ] {
            assert_eq!(watch(&post(fields)), Some((2, violation)), "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_are_judged_like_the_whole(
            wire in "(GET|Content-Length: 3|Transfer-Encoding: chunked|\r\n|\n|[a-f0-9]{1,3}|: ){0,40}",
            size in 1_usize..9,
        ) {
            let mut pieces = Watcher::new();
            for piece in wire.as_bytes().chunks(size) {
                watch_all(&mut pieces, piece);
            }
            prop_assert_eq!(pieces.found(), watch(&wire));
        }
    }
}
