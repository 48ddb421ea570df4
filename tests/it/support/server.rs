//! A server of one's own: a temporary directory, a free port, and users in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Outcome, Process, children, pockitd, pockitd_with_open_files, run_with};
use super::token::SECRET;
use super::{DEADLINE, Form, PICTURE, PROFILE, Reply, Request, fixture};

/// What a test server is told, before it starts.
#[derive(Clone, Debug)]
pub struct Setup {
    settings: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    open_files_max: Option<u32>,
}

impl Setup {
    /// A free port, the tests' secret, and password hashes that cost next to nothing.
    pub fn new() -> Self {
        Self::bare()
            .set("auth.secret", &format!("{SECRET:?}"))
            .set("auth.argon2_memory_kib", "8")
            .set("auth.argon2_passes", "1")
    }

    /// The defaults, but for the port.
    pub fn bare() -> Self {
        let empty = Self {
            settings: Vec::new(),
            variables: Vec::new(),
            open_files_max: None,
        };
        empty.set("http.listen", "\"127.0.0.1:0\"")
    }

    /// A line of the configuration file: `section.key` and a value in TOML.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.retain(|(set, _)| set != key);
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A variable in the environment of the program.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the program have at most so many open files.
    pub fn open_files(mut self, count_max: u32) -> Self {
        self.open_files_max = Some(count_max);
        self
    }

    /// Starts with an empty data directory.
    pub fn start(self) -> Server {
        self.start_after(|_| {})
    }

    /// Runs something against the same data, such as `pockitd user add`, then starts.
    pub fn start_after(self, before: impl FnOnce(&Home)) -> Server {
        let home = self.home();
        before(&home);
        let (process, address) = home.serve(&[]);
        Server {
            home,
            arguments: Vec::new(),
            process,
            address,
        }
    }

    /// Writes the configuration file; starts nothing.
    pub fn home(&self) -> Home {
        let directory = tempfile::tempdir().unwrap();
        let lines = self.settings.iter();
        let mut text: String = lines
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        if !text.contains("storage.data_dir") {
            let data_dir = directory.path().join("data").display().to_string();
            text += &format!("storage.data_dir = {data_dir:?}\n");
        }
        std::fs::write(directory.path().join("test.toml"), text).unwrap();
        Home {
            directory,
            variables: self.variables.clone(),
            open_files_max: self.open_files_max,
        }
    }
}

/// A directory with a configuration file and, once something ran, data.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    variables: Vec<(String, String)>,
    open_files_max: Option<u32>,
}

impl Home {
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The program with this configuration and data.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.open_files_max {
            Some(count_max) => pockitd_with_open_files(self.path(), count_max),
            None => pockitd(self.path()),
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(["--config", "test.toml"]).args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, b"")
    }

    /// Runs a command with input to its end.
    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        run_with(&mut self.command(arguments), input)
    }

    fn serve(&self, arguments: &[String]) -> (Process, SocketAddr) {
        let mut command = self.command(&["serve"]);
        let mut process = Process::start(command.args(arguments), b"");
        let line = process.line().unwrap_or_else(|| {
            process.wait(DEADLINE);
            panic!("the server does not start: {}", process.log())
        });
        let address = line.strip_prefix("listening on http://");
        let address = address.or(line.strip_prefix("listening on https://"));
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("an unexpected line on stdout: {line:?}"));
        (process, address)
    }
}

/// A running server. Killed when it is dropped; a failing test prints its log.
#[derive(Debug)]
pub struct Server {
    home: Home,
    arguments: Vec<String>,
    process: Process,
    address: SocketAddr,
}

/// Someone with an account.
#[derive(Clone, Debug)]
pub struct User {
    pub id: String,
    pub email: String,
    pub password: String,
    pub access: String,
    pub refresh: String,
}

impl Server {
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// With further settings, in TOML.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let setup = settings
            .iter()
            .fold(Setup::new(), |setup, (key, value)| setup.set(key, value));
        setup.start()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    pub fn process_id(&self) -> i32 {
        self.process.id()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Asks for an end, and asserts that it comes in order.
    #[track_caller]
    pub fn stop(&mut self) {
        self.stop_by(Signal::TERM);
    }

    #[track_caller]
    pub fn stop_by(&mut self, signal: Signal) {
        self.process.signal(signal);
        let status = self.process.wait(DEADLINE);
        let code = status.expect("the server stops in time").code();
        assert_eq!(code, Some(0), "{}", self.log());
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends a signal to the server and to all processes that it has started, as service managers do.
    pub fn signal_all(&self, signal: Signal) {
        for child in children(self.process_id()) {
            // One that has just ended needs no signal.
            let _ = kill_process(Pid::from_raw(child).unwrap(), signal);
        }
        self.process.signal(signal);
    }

    /// Asks for an end and waits for nothing.
    pub fn ask_to_stop(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits for the end after [`Server::ask_to_stop`].
    #[track_caller]
    pub fn ended(&mut self) {
        let status = self
            .process
            .wait(DEADLINE)
            .expect("the server stops in time");
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Ends it as a power failure would, as far as a process can.
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait(DEADLINE).expect("SIGKILL ends a process");
    }

    /// Starts again, with the same data, on another port.
    pub fn restart(&mut self) {
        let (process, address) = self.home.serve(&self.arguments);
        self.process = process;
        self.address = address;
    }

    /// As [`Server::restart`], with further arguments for `serve`.
    pub fn restart_with(&mut self, arguments: &[&str]) {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self.restart();
    }

    pub fn send(&self, request: &Request) -> Reply {
        request.send(self.address)
    }

    pub fn get(&self, target: &str) -> Reply {
        self.send(&Request::get(target))
    }

    /// A new user with a name and address of their own.
    pub fn user(&self) -> User {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.register(
            &format!("user{number}@example.org"),
            "correct horse battery",
        )
    }

    pub fn register(&self, email: &str, password: &str) -> User {
        let body = json!({ "email": email, "password": password });
        let reply = self.send(&Request::post("/api/auth/register/").json(&body));
        let answer = reply.expect(201).json();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        User {
            id: text("user_id"),
            email: email.to_owned(),
            password: password.to_owned(),
            access: text("access"),
            refresh: text("refresh"),
        }
    }

    /// Sends a file as the user's picture.
    pub fn upload(&self, user: &User, bytes: &[u8]) -> Reply {
        self.upload_form(user, &Form::image(bytes))
    }

    pub fn upload_form(&self, user: &User, form: &Form) -> Reply {
        self.send(&Request::post(PICTURE).bearer(&user.access).form(form))
    }

    /// A user who has a picture: user and profile.
    pub fn user_with_picture(&self) -> (User, Value) {
        let user = self.user();
        let profile = self.upload(&user, &fixture("orientation-1.jpg"));
        (user, profile.expect(200).json())
    }

    pub fn profile(&self, user: &User) -> Value {
        let reply = self.send(&Request::get(PROFILE).bearer(&user.access));
        reply.expect(200).json()
    }

    /// The bytes of the larger and the smaller file of a profile, as their URLs deliver them.
    #[track_caller]
    pub fn pictures(&self, profile: &Value) -> (Vec<u8>, Vec<u8>) {
        let fetch = |key: &str| {
            let reply = self.get(&self.path(&profile[key])).expect(200);
            assert_eq!(reply.field("content-type"), Some("image/jpeg"));
            reply.body
        };
        (
            fetch("profile_picture_url"),
            fetch("profile_picture_thumbnail_url"),
        )
    }

    /// The path of an absolute URL of this server.
    #[track_caller]
    pub fn path(&self, url: &Value) -> String {
        let url = url.as_str().expect("a URL is a text");
        let path = url.strip_prefix(&format!("http://{}", self.address));
        path.unwrap_or_else(|| panic!("{url} is not of {}", self.address))
            .to_owned()
    }

    /// Whether it still answers.
    pub fn is_alive(&self) -> bool {
        Request::get("/healthz")
            .try_send(self.address)
            .is_ok_and(|reply| reply.status == 200)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of the server\n{}---", self.log());
        }
    }
}
