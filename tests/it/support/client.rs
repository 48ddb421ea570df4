//! A blocking HTTP/1.1 client that hides nothing: what is sent is bytes, and every answer is held against the rules
//! of [`strict`](super::strict) before a test sees it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{DEADLINE, Form, strict};

/// A request, written out as it is told: nothing is added but `Host`, and `Content-Length` with a body.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields: Vec::new(),
            body: None,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.field("Authorization", &format!("Bearer {token}"))
    }

    pub fn body(self, content_type: &str, body: &[u8]) -> Self {
        let mut request = self.field("Content-Type", content_type);
        request.body = Some(body.to_vec());
        request
    }

    pub fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string().as_bytes())
    }

    pub fn form(self, form: &Form) -> Self {
        self.body(&form.content_type(), &form.bytes())
    }

    pub fn method(&self) -> &str {
        &self.method
    }

    /// Head and body. `Host` is added where the test gave none.
    pub fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut bytes = self.head(address);
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// The head alone, with the length of the body that would follow.
    pub fn head(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |wanted: &str| {
            let mut names = self.fields.iter().map(|(name, _)| name);
            names.any(|name| name.eq_ignore_ascii_case(wanted))
        };
        if !has("Host") {
            head += &format!("Host: {address}\r\n");
        }
        if let Some(body) = &self.body
            && !has("Content-Length")
            && !has("Transfer-Encoding")
        {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    /// Sends it over a connection of its own and reads the answer, checked.
    pub fn send(&self, address: SocketAddr) -> Reply {
        self.try_send(address)
            .unwrap_or_else(|lost| panic!("{} {}: {lost:?}", self.method, self.target))
    }

    /// As [`Request::send`]; a lost answer is a value.
    pub fn try_send(&self, address: SocketAddr) -> Result<Reply, Lost> {
        let reply = self.try_send_to_a_failing_server(address)?;
        strict::check(&self.method, &reply);
        Ok(reply)
    }

    /// As [`Request::try_send`], to a server whose disk fails: it may answer 500.
    pub fn try_send_to_a_failing_server(&self, address: SocketAddr) -> Result<Reply, Lost> {
        let mut connection = Connection::try_open(address)?;
        connection.write_beside(self.bytes(address));
        connection.answer(&self.method)
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(field, _)| field == name);
        found.next().map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// Status and body, for comparing both at once.
    pub fn told(&self) -> (u16, String) {
        (self.status, self.text())
    }

    /// Asserts the status, with the body in the report.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// Nobody listens.
    Refused,
    /// The connection was closed in order, before the first byte of an answer.
    Closed,
    /// The connection was reset.
    Reset,
    /// The connection ended within an answer.
    Truncated,
    /// Nothing came in time.
    Late,
}

/// A connection: write what you like, read answers one by one.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    deadline: Duration,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server accepts")
    }

    /// Sends the head of a request that waits for its `100 Continue`, and gets that.
    pub fn asked(address: SocketAddr, request: Request) -> Self {
        let mut connection = Self::open(address);
        let request = request.field("Expect", "100-continue");
        connection.write(&request.head(address));
        assert_eq!(connection.answer("POST").unwrap().status, 100);
        connection
    }

    /// As [`Connection::open`]; a server that is gone is a value.
    pub fn try_open(address: SocketAddr) -> Result<Self, Lost> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).map_err(|_| Lost::Refused)?;
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Ok(Self {
            stream,
            received: Vec::new(),
            deadline: DEADLINE,
        })
    }

    /// Waits at most that long for answers.
    pub fn patience(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Writes; a peer that has closed is not an error here, it shows when the answer is read.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Whether the peer still takes bytes.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Writes in a thread of its own, so that an answer can be read meanwhile.
    pub fn write_beside(&self, bytes: Vec<u8>) {
        let mut stream = self.stream.try_clone().unwrap();
        thread::spawn(move || stream.write_all(&bytes));
    }

    /// No more will be sent.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a request and reads its answer, checked.
    pub fn exchange(&mut self, request: &Request) -> Reply {
        let address = self.stream.peer_addr().unwrap();
        self.write(&request.bytes(address));
        let reply = self
            .answer(request.method())
            .unwrap_or_else(|lost| panic!("{request:?}: {lost:?}"));
        strict::check(request.method(), &reply);
        reply
    }

    /// The next answer; of what it says, only its fields are checked. An interim answer (1xx) counts as one.
    pub fn answer(&mut self, method: &str) -> Result<Reply, Lost> {
        let until = Instant::now() + self.deadline;
        let end = loop {
            if let Some(at) = position(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.receive(until)? {
                let begun = !self.received.is_empty();
                return Err(if begun { Lost::Truncated } else { Lost::Closed });
            }
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let (status, fields) = parse_head(&String::from_utf8_lossy(&head));
        let mut reply = Reply {
            status,
            fields,
            body: Vec::new(),
        };
        if status >= 200 {
            strict::check_fields(&reply);
        }
        if method == "HEAD" || status < 200 || matches!(status, 204 | 304) {
            return Ok(reply);
        }
        let length = reply.field("content-length");
        let length: usize = length
            .expect("an answer has a Content-Length")
            .parse()
            .unwrap();
        while self.received.len() < length {
            if !self.receive(until)? {
                return Err(Lost::Truncated);
            }
        }
        reply.body = self.received.drain(..length).collect();
        Ok(reply)
    }

    /// Whether the server closes the connection, in whatever way, without another byte of an answer.
    pub fn is_closed(&mut self) -> bool {
        let until = Instant::now() + self.deadline;
        loop {
            match self.receive(until) {
                Ok(true) => {}
                Ok(false) | Err(Lost::Reset) => return self.received.is_empty(),
                Err(_) => return false,
            }
        }
    }

    /// All bytes until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let until = Instant::now() + self.deadline;
        while let Ok(true) = self.receive(until) {}
        std::mem::take(&mut self.received)
    }

    /// Receives some bytes; false at the end.
    fn receive(&mut self, until: Instant) -> Result<bool, Lost> {
        let mut buffer = vec![0; 64 * 1_024];
        let left = until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).unwrap();
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Lost::Late)
            }
            Err(_) => Err(Lost::Reset),
        }
    }
}

/// Where a sequence of bytes begins.
pub fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

fn parse_head(head: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = status
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("not a status line: {first:?}"));
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':').expect("a field has a colon");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    (status, fields.collect())
}
