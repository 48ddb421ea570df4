//! Forms where JSON is taken, too: what jQuery, `requests.post(data=…)`, `URLSearchParams` and `FormData` send.

use serde_json::json;

use crate::support::{Form, PROFILE, Reply, Request, Server};

const REGISTER: &str = "/api/auth/register/";
const LOGIN: &str = "/api/auth/login/";
const REFRESH: &str = "/api/auth/token/refresh/";
const URLENCODED: &str = "application/x-www-form-urlencoded";

/// Sends the fields as each of the two forms.
fn both(fields: &[(&str, &str)], request: impl Fn() -> Request) -> [Request; 2] {
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace('@', "%40").replace(' ', "+")))
        .collect();
    let form = fields
        .iter()
        .fold(Form::new(), |form, (name, value)| form.text(name, value));
    let urlencoded = request().body(URLENCODED, pairs.join("&").as_bytes());
    [urlencoded, request().form(&form)]
}

#[test]
fn whole_life_of_an_account_in_forms() {
    let server = Server::start();
    for (index, email) in ["ada@example.org", "bob@example.org"]
        .into_iter()
        .enumerate()
    {
        let send = |fields: &[(&str, &str)], request: &dyn Fn() -> Request| -> Reply {
            let [urlencoded, multipart] = both(fields, request);
            server.send(if index == 0 { &urlencoded } else { &multipart })
        };
        let account = [("email", email), ("password", "correct horse")];
        let named = [account[0], account[1], ("name", "First Last")];
        send(&named, &|| Request::post(REGISTER)).expect(201);
        let tokens = send(&account, &|| Request::post(LOGIN)).expect(200).json();

        let refresh = [("refresh", tokens["refresh"].as_str().unwrap())];
        let fresh = send(&refresh, &|| Request::post(REFRESH))
            .expect(200)
            .json();

        let access = fresh["access"].as_str().unwrap();
        let own = || Request::new("PATCH", PROFILE).bearer(access);
        let profile = server.send(&Request::get(PROFILE).bearer(access)).json();
        assert_eq!(profile["name"], "First Last");
        let profile = send(&[("name", "Zoë B")], &own).expect(200).json();
        assert_eq!(profile["name"], "Zoë B");
        // Django's QueryDict gives the last of them.
        let twice = [("name", "One"), ("name", "Two"), ("other", "x")];
        assert_eq!(send(&twice, &own).expect(200).json()["name"], "Two");
        assert_eq!(
            send(&[("other", "x")], &own).expect(200).json()["name"],
            "Two"
        );
        let blank = r#"{"name":["This field may not be blank."]}"#;
        assert_eq!(send(&[("name", "")], &own).told(), (400, blank.to_owned()));
    }
}

/// Where to, which fields, and what is answered.
type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);

#[test]
fn refusals_are_those_of_json() {
    let server = Server::start();
    let good = ("email", "ada@example.org");
    let cases: [Case<'_>; 7] = [
        (
            REGISTER,
            &[("other", "x")],
            r#"{"email":["This field is required."],"password":["This field is required."]}"#,
        ),
        (
            REGISTER,
            &[("email", ""), ("password", "")],
            r#"{"email":["This field may not be blank."],"password":["This field may not be blank."]}"#,
        ),
        (
            REGISTER,
            &[("email", "ada"), ("password", "12345678")],
            r#"{"email":["Enter a valid email address."]}"#,
        ),
        (
            REGISTER,
            &[good, ("password", "1234567")],
            r#"{"password":["This password is too short. It must contain at least 8 characters."]}"#,
        ),
        (
            REGISTER,
            &[good, ("password", "12345678"), ("name", "<b>")],
            r#"{"name":["The characters < and > are not allowed."]}"#,
        ),
        (
            LOGIN,
            &[good],
            r#"{"password":["This field is required."]}"#,
        ),
        (
            REFRESH,
            &[("refresh", "")],
            r#"{"refresh":["This field may not be blank."]}"#,
        ),
    ];
    for (path, fields, body) in cases {
        for request in both(fields, || Request::post(path)) {
            assert_eq!(server.send(&request).told(), (400, body.to_owned()));
        }
    }
}

#[test]
fn name_left_empty_in_a_form_is_left_out() {
    let server = Server::start();
    for (email, index) in [("ada@example.org", 0), ("bob@example.org", 1)] {
        let fields = [("email", email), ("password", "12345678"), ("name", "")];
        server
            .send(&both(&fields, || Request::post(REGISTER))[index])
            .expect(201);
    }
    let body = json!({ "email": "c@example.org", "password": "12345678", "name": "" });
    server
        .send(&Request::post(REGISTER).json(&body))
        .expect(400);
}

#[test]
fn what_is_no_text_is_refused() {
    let server = Server::start();
    let body = r#"{"password":["Not a valid string."]}"#;
    let bad_bytes = b"Content-Disposition: form-data; name=\"password\"\r\n";
    let form = || Form::new().text("email", "ada@example.org");
    for request in [
        Request::post(LOGIN).body(URLENCODED, b"email=ada%40example.org&password=%ff%fe"),
        Request::post(LOGIN).body(URLENCODED, b"email=ada%40example.org&password=\xff"),
        Request::post(LOGIN).form(&form().part(bad_bytes, b"\xff\xfe")),
        Request::post(LOGIN).form(&form().file("password", "p.txt", "text/plain", b"12345678")),
    ] {
        assert_eq!(server.send(&request).told(), (400, body.to_owned()));
    }
    // A file in a field that nobody asks for is ignored.
    let stray = form()
        .text("password", "12345678")
        .file("image", "a.jpg", "image/jpeg", b"x");
    server
        .send(&Request::post(REGISTER).form(&stray))
        .expect(201);
    // As Python's `unquote_plus` has it, a lone `%` is a `%`.
    let lone =
        Request::post(REGISTER).body(URLENCODED, b"email=b%40example.org&password=100%zz%%%");
    server.send(&lone).expect(201);
    let body = json!({ "email": "b@example.org", "password": "100%zz%%%" });
    server.send(&Request::post(LOGIN).json(&body)).expect(200);
}

#[test]
fn forms_have_the_bounds_of_json() {
    let server = Server::with(&[
        ("http.json_bytes_max", "1024"),
        ("http.form_parts_max", "3"),
    ]);
    let long = "x".repeat(1024);
    for request in both(&[("refresh", &long)], || Request::post(REFRESH)) {
        let length = request.bytes(server.address()).len() - request.head(server.address()).len();
        let told = format!(
            "{{\"detail\":\"The request body is too large: it has {length} bytes, the limit is 1024 bytes.\"}}"
        );
        assert_eq!(server.send(&request).told(), (413, told));
    }
    let parts = (0..4).fold(Form::new(), |form, _| form.text("a", ""));
    let told = r#"{"detail":"Multipart form parse error - More than 3 parts"}"#;
    let reply = server.send(&Request::post(REFRESH).form(&parts));
    assert_eq!(reply.told(), (400, told.to_owned()));
    let told = r#"{"detail":"Multipart form parse error - Invalid boundary in multipart: None"}"#;
    let bare = Request::post(REFRESH).body("multipart/form-data", b"x");
    assert_eq!(server.send(&bare).told(), (400, told.to_owned()));
    let broken = Request::post(REFRESH).body("multipart/form-data; boundary=x", b"--x\r\nbroken");
    let reply = server.send(&broken).expect(400).text();
    assert!(reply.contains("Multipart form parse error - "), "{reply}");
}

#[test]
fn other_charsets_and_types_are_415() {
    let server = Server::start();
    for kind in [
        "application/x-www-form-urlencoded; charset=latin-1",
        "multipart/form-data; boundary=x; charset=utf-16",
        "application/xml",
        "multipart/mixed; boundary=x",
    ] {
        let request = Request::post(LOGIN).body(kind, b"email=a");
        let body = format!(r#"{{"detail":"Unsupported media type \"{kind}\" in request."}}"#);
        assert_eq!(server.send(&request).told(), (415, body));
    }
    let kind = "Application/X-WWW-Form-urlencoded; charset=UTF-8";
    let request = Request::post(LOGIN).body(kind, b"email=a&password=b");
    server.send(&request).expect(401);
}
