//! The service manager (systemd): readiness, watchdog, stopping, and sockets that it opens.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::support::process::Process;
use crate::support::{DEADLINE, Request, Setup};

#[test]
fn manager_is_told_of_readiness_life_and_stopping() {
    let home = Setup::new().home();
    let socket = home.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut command = home.command(&["serve"]);
    command
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000");
    let mut process = Process::start(&mut command, b"");
    let told = |wanted: &str| {
        let mut buffer = [0; 4_096];
        loop {
            let count = manager.recv(&mut buffer).expect(wanted);
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return text;
            }
        }
    };

    told("STATUS=opening the store");
    let ready = told("READY=1");
    assert!(ready.contains("STATUS=serving on 127.0.0.1:"), "{ready}");
    for _ in 0..3 {
        told("WATCHDOG=1");
    }
    process.signal(rustix::process::Signal::TERM);
    told("STOPPING=1");
    assert_eq!(
        process.wait(DEADLINE).and_then(|status| status.code()),
        Some(0)
    );
}

/// A shell that puts listening sockets at 3 and above, and becomes the program.
fn activated(home: &crate::support::server::Home, sockets: &[i32], names: &str) -> Command {
    let mut script = String::new();
    for (place, socket) in (3..).zip(sockets) {
        script += &format!("exec {place}<&{socket}; ");
    }
    script += "export LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut shell = Command::new("bash");
    shell
        .current_dir(home.path())
        .args(["--norc", "-c", &script, env!("CARGO_BIN_EXE_pockitd")])
        .args(["--config", "test.toml", "serve"])
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names);
    shell
}

/// A socket that outlives the start of another program, at a number that is out of the way.
fn inherited(listener: &std::net::TcpListener, at_least: i32) -> i32 {
    let copy = rustix::io::fcntl_dupfd_cloexec(listener, at_least).unwrap();
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
    let number = copy.as_raw_fd();
    std::mem::forget(copy);
    number
}

#[test]
fn sockets_of_the_manager_are_used_by_their_names() {
    let home = Setup::new().home();
    let api = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sockets = [inherited(&metrics, 60), inherited(&api, 61)];
    let mut command = activated(&home, &sockets, "metrics:http");
    let mut process = Process::start(&mut command, b"");

    let line = process
        .line()
        .unwrap_or_else(|| panic!("{}", process.log()));

    let address = api.local_addr().unwrap();
    assert_eq!(line, format!("listening on http://{address}"));
    Request::get("/healthz").send(address).expect(200);
    let metrics = metrics.local_addr().unwrap();
    Request::get("/metrics").send(metrics).expect(200);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let home = Setup::new().home();
    let mut command = home.command(&["serve"]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");

    let mut process = Process::start(&mut command, b"");

    assert!(process.line().unwrap().starts_with("listening on http://"));
}
