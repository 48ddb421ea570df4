//! The form that carries a picture: fields, file names, and everything that is no proper form.

use serde_json::json;

use crate::support::delivered::assert_delivered;
use crate::support::fixtures::expected_of;
use crate::support::{Connection, Form, PICTURE, Request, Server, fixture, holds};

#[test]
fn file_names_leave_no_trace() {
    let mut server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    for name in [
        "../../../../tmp/marker-1.jpg",
        "C:\\\\marker-2.jpg",
        "/etc/marker-3",
        "marker-4%00.jpg",
        "marker-5\u{202e}gpj.exe",
        "<script>marker-6</script>",
        "marker-7'; DROP TABLE users; --",
        "marker-8\u{1b}[31m.jpg",
        "marker-9.jpg\u{7f}",
    ] {
        let form = Form::new().file("image", name, "image/jpeg", &fixture("grey.jpg"));
        let reply = server.upload_form(&user, &form);

        assert!(
            matches!(reply.status, 200 | 400),
            "{name}: {}",
            reply.text()
        );
        assert!(!reply.text().contains("marker-"), "{}", reply.text());
    }
    server.stop();
    assert!(!holds(server.home().path(), b"marker-"));
    assert!(!server.log().contains('\u{1b}'));
}

#[test]
fn fields_of_the_form_are_judged_as_django_does() {
    let server = Server::start();
    let user = server.user();
    let small = fixture("grey.jpg");
    let image = |sentence: &str| json!({ "image": [sentence] }).to_string();
    let not_a_file = "The submitted data was not a file. Check the encoding type on the form.";
    let cases = [
        ("nothing", Form::new(), image("No file was submitted.")),
        (
            "other fields only",
            Form::new()
                .text("title", "x")
                .file("picture", "a.jpg", "image/jpeg", &small),
            image("No file was submitted."),
        ),
        (
            "an empty file",
            Form::image(b""),
            image("The submitted file is empty."),
        ),
        (
            "text",
            Form::new().text("image", "data:image/png;base64,AAAA"),
            image(not_a_file),
        ),
        (
            "no file chosen in a browser",
            Form::new().file("image", "", "application/octet-stream", b""),
            image("No file was submitted."),
        ),
    ];
    for (what, form, body) in cases {
        let reply = server.upload_form(&user, &form);

        assert_eq!(reply.told(), (400, body), "{what}");
    }
}

#[test]
fn second_image_is_refused_and_nothing_is_stored() {
    let server = Server::start();
    let (user, before) = server.user_with_picture();
    let form =
        Form::image(&fixture("rgb.png")).file("image", "b.jpg", "image/jpeg", &fixture("grey.jpg"));

    let reply = server.upload_form(&user, &form).expect(400);

    assert!(reply.json()["image"][0].is_string(), "{}", reply.text());
    assert_eq!(server.profile(&user), before);
}

#[test]
fn other_fields_beside_the_image_are_ignored() {
    let server = Server::start();
    let user = server.user();
    let form = Form::new()
        .text("csrfmiddlewaretoken", "x")
        .file("image", "a.png", "image/png", &fixture("rgb.png"))
        .text("title", "My picture");

    let profile = server.upload_form(&user, &form).expect(200).json();

    assert_delivered(&server, &profile, &expected_of("rgb.png"));
}

#[test]
fn body_that_is_no_form_is_415_or_400() {
    let server = Server::start();
    let user = server.user();
    let small = fixture("grey.jpg");
    let send = |kind: &str, body: &[u8]| {
        let request = Request::post(PICTURE).bearer(&user.access).body(kind, body);
        server.send(&request)
    };
    for kind in [
        "image/jpeg",
        "application/json",
        "application/x-www-form-urlencoded",
    ] {
        let reply = send(kind, &small);
        let body = format!(r#"{{"detail":"Unsupported media type \"{kind}\" in request."}}"#);
        assert_eq!(reply.told(), (415, body));
    }
    let bare = Request::post(PICTURE).bearer(&user.access);
    let nothing = r#"{"image":["No file was submitted."]}"#;
    assert_eq!(server.send(&bare).told(), (400, nothing.to_owned()));

    let form = Form::image(&small);
    let whole = form.bytes();
    let mut other = Vec::new();
    for (what, kind, body) in [
        ("no boundary", "multipart/form-data", &whole[..]),
        (
            "an empty boundary",
            "multipart/form-data; boundary=",
            &whole[..],
        ),
        (
            "another boundary",
            "multipart/form-data; boundary=other",
            &whole[..],
        ),
        (
            "no end",
            form.content_type().as_str(),
            &whole[..whole.len() - 8],
        ),
        (
            "half a file",
            form.content_type().as_str(),
            &whole[..whole.len() / 2],
        ),
        ("only the end", form.content_type().as_str(), b"\r\n--"),
    ] {
        let reply = send(kind, body).expect(400);
        let detail = reply.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if !detail.starts_with("Multipart form parse error - ") {
            other.push((what, reply.text()));
        }
    }
    assert!(other.is_empty(), "{other:?}");
    assert_eq!(server.profile(&user)["has_picture"], json!(false));
}

#[test]
fn flood_of_parts_or_heads_is_400() {
    let server = Server::start();
    let (user, before) = server.user_with_picture();
    let small = fixture("grey.jpg");
    let many = (0..1_000).fold(Form::new(), |form, number| {
        form.text(&format!("f{number}"), "x")
    });
    let wide = format!(
        "Content-Disposition: form-data; name=\"image\"; filename=\"{}\"\r\n",
        "x".repeat(100_000)
    );
    let long = format!(
        "Content-Disposition: form-data; name=\"image\"; filename=\"a\"\r\nX-Long: {}\r\n",
        "x".repeat(1_000_000)
    );
    let fields = "X-Field: x\r\n".repeat(40);
    let fields =
        format!("Content-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n{fields}");
    let cases = [
        ("many parts", many.clone()),
        (
            "many parts and an image",
            many.file("image", "a.jpg", "image/jpeg", &small),
        ),
        (
            "a long file name",
            Form::new().part(wide.as_bytes(), &small),
        ),
        ("a long head", Form::new().part(long.as_bytes(), &small)),
        ("many fields", Form::new().part(fields.as_bytes(), &small)),
        (
            "a large other field",
            Form::new().text("title", &"x".repeat(1_000_000)),
        ),
        ("a part without a head", Form::new().part(b"", &small)),
    ];
    let mut accepted = Vec::new();
    for (what, form) in cases {
        let reply = server.upload_form(&user, &form);
        if reply.status != 400 {
            accepted.push((what, reply.status));
        }
    }
    let form = Form::image(&small);
    let mut preamble = vec![b'x'; 1_000_000];
    preamble.extend_from_slice(b"\r\n");
    preamble.extend_from_slice(&form.bytes());
    let request = Request::post(PICTURE).bearer(&user.access);
    let reply = server.send(&request.clone().body(&form.content_type(), &preamble));
    assert_eq!(reply.status, 400, "a preamble: {}", reply.text());
    let boundary = "x".repeat(5_000);
    let body = format!("--{boundary}--\r\n");
    let kind = format!("multipart/form-data; boundary={boundary}");
    let reply = server.send(&request.body(&kind, body.as_bytes()));
    assert_eq!(reply.status, 400, "a boundary: {}", reply.text());
    assert!(accepted.is_empty(), "{accepted:?}");
    assert_eq!(server.profile(&user), before);
}

#[test]
fn nothing_is_stored_before_the_message_is_complete() {
    let server = Server::with(&[("http.body_idle_timeout_ms", "500")]);
    let (user, before) = server.user_with_picture();
    let form = Form::image(&fixture("rgb.png"));
    let whole = form.bytes();
    let post = || {
        Request::post(PICTURE)
            .bearer(&user.access)
            .field("Content-Type", &form.content_type())
    };
    let with_length = |length: usize| post().field("Content-Length", &length.to_string());
    let chunked = |rest: &[u8]| {
        let mut body = format!("{:x}\r\n", whole.len()).into_bytes();
        body.extend_from_slice(&whole);
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(rest);
        body
    };
    let epilogue = [whole.clone(), vec![b'x'; 1_000_000]].concat();
    let in_chunks = post().field("Transfer-Encoding", "chunked");
    let cases = [
        (
            "a body cut off",
            with_length(whole.len() + 100),
            whole.clone(),
            true,
        ),
        (
            "a body that stalls",
            with_length(whole.len() + 100),
            whole.clone(),
            false,
        ),
        ("an epilogue", with_length(epilogue.len()), epilogue, false),
        (
            "a chunk that is none",
            in_chunks.clone(),
            chunked(b"zz\r\n"),
            false,
        ),
        (
            "a chunk without end",
            in_chunks.clone(),
            chunked(b"ffffffffffffffff\r\n"),
            false,
        ),
        ("no last chunk", in_chunks.clone(), chunked(b""), true),
        (
            "a malformed trailer",
            in_chunks,
            chunked(b"0\r\nno colon\r\n\r\n"),
            false,
        ),
    ];
    for (what, request, body, finish) in cases {
        let mut connection = Connection::open(server.address());
        connection.write(&request.head(server.address()));
        connection.write_beside(body);
        if finish {
            connection.finish();
        }

        let reply = connection.answer("POST").expect(what);

        assert!(
            matches!(reply.status, 400 | 408),
            "{what}: {}",
            reply.text()
        );
        assert_eq!(server.profile(&user), before, "{what}");
    }
}

#[test]
fn file_is_a_file_however_its_name_is_written() {
    let server = Server::start();
    let user = server.user();
    let names: [&[u8]; 6] = [
        b"filename=\"caf\xC3\xA9.jpg\"",
        b"filename=\"caf\xE9.jpg\"",
        b"filename*=utf-8''caf%C3%A9.jpg",
        b"filename=\"\"; filename*=utf-8''photo.jpg",
        b"filename=photo.jpg",
        b"FileName=\"a;b\\\"c.jpg\"",
    ];
    for name in names {
        let head = [
            b"Content-Disposition: form-data; name=\"image\"; ",
            name,
            b"\r\n",
        ]
        .concat();
        let form = Form::new().part(&head, &fixture("rgb.png"));

        let reply = server.upload_form(&user, &form);

        let told = String::from_utf8_lossy(name);
        assert_eq!(reply.status, 200, "{told}: {}", reply.text());
    }
}

#[test]
fn field_beside_the_file_that_is_too_large_is_not_called_the_image() {
    let server = Server::start();
    let user = server.user();
    let form = Form::new().text("title", &"x".repeat(70_000));
    let form = form.file("image", "a.png", "image/png", &fixture("rgb.png"));

    let reply = server.upload_form(&user, &form).expect(400);

    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("65536 bytes beside the file"), "{detail}");
}
