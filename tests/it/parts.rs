//! What separates the parts of a form, and their heads: as clients write them, and as nobody should.

use serde_json::json;

use crate::support::{Connection, Form, PICTURE, Request, Server, fixture};

#[test]
fn boundary_is_taken_as_clients_write_it() {
    let server = Server::start();
    let user = server.user();
    let picture = fixture("rgb.png");
    let send = |boundary: &str, parameters: &str| {
        let head = "Content-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\n";
        let body = [
            format!("--{boundary}\r\n{head}").as_bytes(),
            &picture,
            format!("\r\n--{boundary}--\r\n").as_bytes(),
        ]
        .concat();
        let kind = format!("multipart/form-data{parameters}");
        let request = Request::post(PICTURE).bearer(&user.access);
        server.send(&request.body(&kind, &body))
    };
    let longest = "x".repeat(70);
    for (boundary, parameters) in [
        ("X", ";boundary=X"),
        ("X", "; charset=utf-8; Boundary=\"X\"; x"),
        ("X", "; boundary=X;"),
        ("X", " ; boundary = X "),
        ("----=_Part_1/2", "; boundary=----=_Part_1/2"),
        ("Boundary+0F:1?", "; boundary=Boundary+0F:1?"),
        ("a b;c\"\\d", "; boundary=\"a b;c\\\"\\\\d\""),
        ("(x)", "; boundary=\"(x)\""),
        (&longest, &format!("; boundary={longest}")),
    ] {
        let reply = send(boundary, parameters);
        assert_eq!(reply.status, 200, "{parameters}: {}", reply.text());
    }
    let long = format!("{longest}x");
    for (boundary, parameters, found) in [
        ("X", "", "None"),
        ("X", "; boundary", "None"),
        ("", "; boundary=\"\"", "None"),
        ("X", "; x=\"; boundary=X", "None"),
        ("X", "; boundary=X; boundary=Y", "more than one"),
        ("X ", "; boundary=\"X \"", "not a text"),
        ("X\t", "; boundary=\"X\tY\"", "not a text"),
        (
            &long,
            &format!("; boundary={long}"),
            "it has 71 characters, the limit is 70",
        ),
    ] {
        let told = format!("Multipart form parse error - Invalid boundary in multipart: {found}");
        let reply = send(boundary, parameters);
        let expected = (400, json!({ "detail": told }).to_string());
        assert_eq!(reply.told(), expected, "{parameters}");
    }
}

#[test]
fn what_is_beside_the_file_is_refused_before_it_is_over() {
    let server = Server::start();
    let user = server.user();
    let part = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n";
    let lines = "X-A: b\r\n".repeat(60_000);
    for (what, begin) in [
        ("a preamble", String::new()),
        ("a head of one line", format!("{part}X-Long: ")),
        ("a head of many lines", format!("{part}{lines}")),
        ("a field", format!("{part}\r\n")),
        ("the padding of a boundary", "--X ".to_owned()),
    ] {
        let request = Request::post(PICTURE)
            .bearer(&user.access)
            .field("Content-Type", "multipart/form-data; boundary=X")
            .field("Content-Length", "5000000");
        let mut connection = Connection::open(server.address());
        connection.write(&request.head(server.address()));
        connection.write(begin.as_bytes());

        // A tenth of what was announced: for the rest, nobody waits.
        connection.write(&vec![b' '; 500_000]);

        let reply = connection.answer("POST").expect(what).expect(400);
        let told = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            told.contains("65536 bytes beside the file"),
            "{what}: {told}"
        );
    }
}

#[test]
fn odd_bytes_in_the_head_of_a_part_are_an_answer_and_not_in_the_log() {
    let mut server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    let picture = fixture("rgb.png");
    let begin = "Content-Disposition: form-data; name=\"image\"; filename=\"";
    for (end, status) in [
        ("mark\0er.jpg\"\r\n", 400),
        ("mark\rer.jpg\"\r\n", 400),
        ("marker.jpg\r\nX-Marker: \"\r\n", 200),
        ("marker\u{202e}gpj.exe\"\r\n", 200),
        ("marker\tx\"\r\n", 200),
        ("marker\"\r\n folded\r\n", 400),
        ("marker\"\r\nno colon\r\n", 400),
        ("marker\"\r\nContent-Transfer-Encoding: binary\r\n", 200),
        (
            "marker\"\r\nContent-Disposition: form-data; name=\"x\"\r\n",
            400,
        ),
        (
            "marker\"\r\nContent-Type: multipart/mixed; boundary=Y\r\n",
            200,
        ),
        ("marker\"; name=\"x\"\r\n", 400),
    ] {
        let head = format!("{begin}{end}");
        let form = Form::new().part(head.as_bytes(), &picture);

        let reply = server.upload_form(&user, &form);

        assert_eq!(reply.status, status, "{end:?}: {}", reply.text());
    }
    server.stop();
    let log = server.log();
    assert!(!log.contains("mark") && !log.contains('\0'), "{log}");
}
