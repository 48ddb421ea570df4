//! A server that does what a test wants, for programs that are clients. It reads whole requests and answers them with
//! what a function says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What is answered: a status and a body; none: the connection is closed without a word.
pub type Said = Option<(u16, Vec<u8>)>;

/// Listens until the test's process ends.
#[derive(Clone, Debug)]
pub struct Fake {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    /// `answer` gets the begin line, such as `GET /healthz HTTP/1.1`, on a thread of the connection.
    pub fn start(answer: impl Fn(&str) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            connections: Arc::default(),
        };
        let connections = Arc::clone(&fake.connections);
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                thread::spawn(move || converse(&stream, answer.as_ref()));
            }
        });
        fake
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many were accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Answers until either side has enough.
fn converse(mut stream: &TcpStream, answer: &dyn Fn(&str) -> Said) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut begin = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if begin.is_empty() {
                line.clone_into(&mut begin);
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        let (status, body) = answer(&begin)?;
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    }
}
