//! Runs the binary: every wait has a deadline, every process ends with its owner.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::DEADLINE;

/// The program, in a directory of the test's, without settings from the environment of whoever runs the tests.
pub fn pockitd(directory: &Path) -> Command {
    placed(Command::new(env!("CARGO_BIN_EXE_pockitd")), directory)
}

/// As [`pockitd`], with at most so many open files, of which one (9) is left open by whoever starts it.
pub fn pockitd_with_open_files(directory: &Path, count_max: u32) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("ulimit -n {count_max} && exec 9</dev/null && exec \"$0\" \"$@\"");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_pockitd")]);
    placed(shell, directory)
}

fn placed(mut command: Command, directory: &Path) -> Command {
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("POCKIT_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// The processes that a process has started and that are not reaped yet.
pub fn children(parent: i32) -> Vec<i32> {
    let line = format!("\nPPid:\t{parent}\n");
    let entries = std::fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| status(*id).contains(&line)).collect()
}

/// What the kernel says of a process; nothing of one that is gone.
pub fn status(id: i32) -> String {
    std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default()
}

/// What a finished run said.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// Asserts that a run failed, said why on stderr in these words, and printed nothing else.
#[track_caller]
pub fn assert_failed(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    for word in words {
        assert!(
            outcome.stderr.contains(word),
            "{word:?} is not in {:?}",
            outcome.stderr
        );
    }
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

/// Runs to the end.
pub fn run(command: &mut Command) -> Outcome {
    run_with(command, b"")
}

/// Runs to the end, with input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Outcome {
    let mut process = Process::start(command, input);
    let status = process
        .wait(DEADLINE)
        .unwrap_or_else(|| panic!("{command:?} does not end: {}", process.log()));
    let mut stdout = String::new();
    while let Some(line) = process.line() {
        stdout += &line;
        stdout.push('\n');
    }
    process.drained();
    Outcome {
        code: status.code(),
        stdout,
        stderr: process.log(),
    }
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    exits: Receiver<ExitStatus>,
    exit: Option<ExitStatus>,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
}

impl Process {
    pub fn start(command: &mut Command, input: &[u8]) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let pid = Pid::from_child(&child);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        thread::spawn(move || stdin.write_all(&input));
        let (line_sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            lines
                .map(|line| line_sender.send(line))
                .take_while(Result::is_ok)
                .count()
        });
        let log = Arc::new(Mutex::new(String::new()));
        let copy = Arc::clone(&log);
        let mut stderr = child.stderr.take().unwrap();
        let log_reader = thread::spawn(move || {
            let mut buffer = [0; 8_192];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                copy.lock().unwrap().push_str(&text);
            }
        });
        let (exit_sender, exits) = channel();
        thread::spawn(move || child.wait().map(|status| exit_sender.send(status)));
        Self {
            pid,
            exits,
            exit: None,
            lines,
            log,
            log_reader: Some(log_reader),
        }
    }

    /// The next line on stdout; none once it is closed.
    pub fn line(&mut self) -> Option<String> {
        use std::sync::mpsc::RecvTimeoutError as Missing;
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(Missing::Disconnected) => None,
            Err(Missing::Timeout) => panic!("nothing on stdout: {}", self.log()),
        }
    }

    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub fn signal(&self, signal: Signal) {
        if self.exit.is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// How it ended, if it did in time.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.exits.recv_timeout(patience).ok();
        }
        self.exit
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until all of stderr is in the log.
    pub fn drained(&mut self) {
        if let Some(reader) = self.log_reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.wait(DEADLINE);
    }
}
