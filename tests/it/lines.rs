//! The log's line of a request: exactly one, whatever becomes of the request.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::metrics::{scrape, value};
use crate::support::process::children;
use crate::support::secure::{Http2, Sent, request, setup, token_of, upload, whole};
use crate::support::{Connection, DEADLINE, Form, PICTURE, Request, Server, fixture};

/// The lines of the request with that id, once there is one.
fn lines_of(server: &Server, id: &str) -> Vec<String> {
    let until = Instant::now() + DEADLINE;
    loop {
        let log = server.log();
        let has_id = |line: &&str| line.contains(&format!("request_id={id:?}"));
        let found: Vec<_> = log.lines().filter(has_id).map(str::to_owned).collect();
        if !found.is_empty() {
            return found;
        }
        assert!(Instant::now() < until, "no line of {id}: {log}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn assert_one(lines: &[String], words: &[&str]) {
    assert_eq!(lines.len(), 1, "{lines:?}");
    for word in words {
        assert!(lines[0].contains(word), "{word}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_whose_client_goes_has_a_line_that_says_so() {
    let server = setup()
        .set("workers.count", "1")
        .set("workers.deadline_ms", "600_000")
        .set("metrics.listen", "\"127.0.0.1:0\"")
        .start();
    let access = token_of(&server, "ada@example.org");
    for id in children(server.process_id()) {
        let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::STOP);
    }
    let mut client = Http2::open(&server).await;
    let mut request = upload(&access, "rgb.png");
    request
        .headers_mut()
        .insert("x-request-id", "gone".parse().unwrap());
    let mut sender = client.sender.clone();
    sender.ready().await.unwrap();
    let stuck = tokio::spawn(sender.send_request(request));
    let until = Instant::now() + DEADLINE;
    while value(&scrape(&server), "pockitd_decode_in_progress") == 0 {
        assert!(Instant::now() < until, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    stuck.abort();

    let gone = lines_of(&server, "gone");
    let words = [
        "method=POST",
        "route=\"replace_picture\"",
        "unanswered=\"client gone\"",
    ];
    assert_one(&gone, &words);
    assert!(!gone[0].contains("status="), "{gone:?}");
    client.send(healthy("stays")).await.unwrap().expect(200);
    let stays = lines_of(&server, "stays");
    assert_one(&stays, &["status=200"]);
    assert!(!stays[0].contains("unanswered"), "{stays:?}");
}

fn healthy(id: &str) -> hyper::Request<Sent> {
    let request = request("GET", "/healthz").header("x-request-id", id);
    request.body(whole("")).unwrap()
}

#[test]
fn request_that_a_stop_cuts_off_has_a_line_that_says_so() {
    let mut server = Server::with(&[("http.shutdown_timeout_ms", "300")]);
    let user = server.user();
    let form = Form::image(&fixture("rgb.png"));
    let upload = Request::post(PICTURE)
        .bearer(&user.access)
        .field("Expect", "100-continue")
        .field("X-Request-Id", "cut")
        .form(&form);
    let mut connection = Connection::open(server.address());
    connection.write(&upload.head(server.address()));
    assert_eq!(connection.answer("POST").unwrap().status, 100);

    server.stop();

    let lines = lines_of(&server, "cut");
    assert_one(&lines, &["unanswered=\"server stopped\""]);
}

#[test]
fn request_whose_body_breaks_off_has_the_line_of_its_answer() {
    let server = Server::start();
    let user = server.user();
    let form = Form::image(&fixture("rgb.png"));
    let upload = Request::post(PICTURE)
        .bearer(&user.access)
        .field("X-Request-Id", "broken")
        .form(&form);
    let bytes = upload.bytes(server.address());
    let mut connection = Connection::open(server.address());
    connection.write(&bytes[..bytes.len() - 100]);

    drop(connection);

    let lines = lines_of(&server, "broken");
    assert_one(&lines, &["status=400", "code=\"incomplete_body\""]);
}
