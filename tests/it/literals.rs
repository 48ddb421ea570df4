//! Error bodies to the letter: those of Django REST Framework and simplejwt, key by key in their order, with their
//! headers; and the same refusals as RFC 9457 problems with their codes.

use serde_json::{Value, json};

use crate::support::token::{access_claims, signed};
use crate::support::{Form, PICTURE, PROFILE, Request, Server, fixture};

const REGISTER: &str = "/api/auth/register/";
const LOG_IN: &str = "/api/auth/login/";
const REFRESH: &str = "/api/auth/token/refresh/";

/// A request, its status, its body as it stands on the wire, its code.
type Case = (Request, u16, &'static str, &'static str);

fn claim(user: &str, name: &str, value: Option<Value>) -> String {
    let mut claims = access_claims(user);
    let fields = claims.as_object_mut().unwrap();
    fields.remove(name);
    fields.extend(value.map(|value| (name.to_owned(), value)));
    signed(&claims)
}

fn of_tokens(id: &str, refresh: &str) -> Vec<Case> {
    let get = |token: &str| Request::get(PROFILE).bearer(token);
    let field = |value: &str| Request::get(PROFILE).field("Authorization", value);
    let again = |token: &str| Request::post(REFRESH).json(&json!({ "refresh": token }));
    let access = claim(id, "x", None);
    let none = r#"{"detail":"Authentication credentials were not provided."}"#;
    let two = r#"{"detail":"Authorization header must contain two space-delimited values","code":"bad_authorization_header"}"#;
    vec![
        (Request::get(PROFILE), 401, none, "not_authenticated"),
        (field("Basic YTpi"), 401, none, "not_authenticated"),
        (field("Bearer a b"), 401, two, "bad_authorization_header"),
        (field("Bearer"), 401, two, "bad_authorization_header"),
        (
            field("Bearer \u{e4}\u{20ac}"),
            401,
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token is invalid"}]}"#,
            "token_not_valid",
        ),
        (
            get("x"),
            401,
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token is invalid"}]}"#,
            "token_not_valid",
        ),
        (
            get(&claim(id, "exp", Some(json!(1)))),
            401,
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token is expired"}]}"#,
            "token_not_valid",
        ),
        (
            get(&claim(id, "exp", None)),
            401,
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token has no 'exp' claim"}]}"#,
            "token_not_valid",
        ),
        (
            again(&claim(id, "exp", None)),
            401,
            r#"{"detail":"Token has no 'exp' claim","code":"token_not_valid"}"#,
            "token_not_valid",
        ),
        (
            get(&claim(id, "token_type", None)),
            401,
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token has no type"}]}"#,
            "token_not_valid",
        ),
        (
            get(refresh),
            401,
            r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token has wrong type"}]}"#,
            "token_not_valid",
        ),
        (
            get(&claim(id, "user_id", None)),
            401,
            r#"{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}"#,
            "token_not_valid",
        ),
        (
            get(&claim(id, "user_id", Some(json!("nobody")))),
            401,
            r#"{"detail":"User not found","code":"user_not_found"}"#,
            "user_not_found",
        ),
        (
            again("x"),
            401,
            r#"{"detail":"Token is invalid","code":"token_not_valid"}"#,
            "token_not_valid",
        ),
        (
            again(&access),
            401,
            r#"{"detail":"Token has wrong type","code":"token_not_valid"}"#,
            "token_not_valid",
        ),
    ]
}

fn of_accounts() -> Vec<Case> {
    let register = |value: Value| Request::post(REGISTER).json(&value);
    let log_in = |value: Value| Request::post(LOG_IN).json(&value);
    vec![
        (
            log_in(json!({ "email": "nobody@example.org", "password": "wrong password" })),
            401,
            r#"{"detail":"No active account found with the given credentials"}"#,
            "no_active_account",
        ),
        (
            log_in(json!({})),
            400,
            r#"{"email":["This field is required."],"password":["This field is required."]}"#,
            "invalid",
        ),
        (
            log_in(json!({ "email": "", "password": null })),
            400,
            r#"{"email":["This field may not be blank."],"password":["This field may not be null."]}"#,
            "invalid",
        ),
        (
            log_in(json!({ "email": true, "password": [] })),
            400,
            r#"{"email":["Not a valid string."],"password":["Not a valid string."]}"#,
            "invalid",
        ),
        (
            log_in(json!({ "email": 1, "password": 2 })),
            401,
            r#"{"detail":"No active account found with the given credentials"}"#,
            "no_active_account",
        ),
        (
            log_in(json!({ "email": " \t", "password": "a\u{0}b" })),
            400,
            r#"{"email":["This field may not be blank."],"password":["Null characters are not allowed."]}"#,
            "invalid",
        ),
        (
            Request::post(LOG_IN),
            400,
            r#"{"email":["This field is required."],"password":["This field is required."]}"#,
            "invalid",
        ),
        (
            Request::post(LOG_IN).body("application/json", b""),
            400,
            r#"{"email":["This field is required."],"password":["This field is required."]}"#,
            "invalid",
        ),
        (
            Request::post(REFRESH).body("text/plain", b""),
            400,
            r#"{"refresh":["This field is required."]}"#,
            "invalid",
        ),
        (
            Request::post(REFRESH).json(&json!({ "refresh": "  " })),
            400,
            r#"{"refresh":["This field may not be blank."]}"#,
            "invalid",
        ),
        (
            Request::post(REFRESH).json(&json!({ "refresh": 5 })),
            401,
            r#"{"detail":"Token is invalid","code":"token_not_valid"}"#,
            "token_not_valid",
        ),
        (
            log_in(json!([])),
            400,
            r#"{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}"#,
            "invalid",
        ),
        (
            log_in(Value::Null),
            400,
            r#"{"non_field_errors":["No data provided"]}"#,
            "invalid",
        ),
        (
            register(json!({ "email": "ada@example.org", "password": "x".repeat(257) })),
            400,
            r#"{"password":["This password is too long: it has 257 characters, the limit is 256."]}"#,
            "password_too_long",
        ),
        (
            register(json!({ "email": ["ada"], "password": "1234567", "name": "" })),
            400,
            r#"{"email":["Enter a valid email address."],"password":["This password is too short. It must contain at least 8 characters."],"name":["This field may not be blank."]}"#,
            "invalid",
        ),
        (
            register(json!({ "email": 5, "password": "correct horse", "name": "a\u{0}" })),
            400,
            r#"{"email":["Enter a valid email address."],"name":["Null characters are not allowed."]}"#,
            "invalid",
        ),
        (
            register(json!({ "email": "ada", "password": "correct horse" })),
            400,
            r#"{"email":["Enter a valid email address."]}"#,
            "invalid",
        ),
        (
            register(json!({ "email": "ada@example.org", "password": "1234567" })),
            400,
            r#"{"password":["This password is too short. It must contain at least 8 characters."]}"#,
            "password_too_short",
        ),
        (
            register(json!({ "email": "taken@example.org", "password": "correct horse" })),
            409,
            r#"{"email":["A user with this email address already exists."]}"#,
            "email_taken",
        ),
        (
            Request::post(LOG_IN).body("text/plain", b"x"),
            415,
            r#"{"detail":"Unsupported media type \"text/plain\" in request."}"#,
            "unsupported_media_type",
        ),
        (
            Request::get("/nothing"),
            404,
            r#"{"detail":"Not found."}"#,
            "not_found",
        ),
        (
            Request::get("/api/users/nobody/profile/"),
            404,
            r#"{"detail":"Not found."}"#,
            "not_found",
        ),
        (
            Request::get(LOG_IN),
            405,
            r#"{"detail":"Method \"GET\" not allowed."}"#,
            "method_not_allowed",
        ),
    ]
}

fn of_uploads(access: &str) -> Vec<Case> {
    let send = |form: &Form| Request::post(PICTURE).bearer(access).form(form);
    let pixel = fixture("pixel.jpg");
    vec![
        (
            send(&Form::new().text("x", "y")),
            400,
            r#"{"image":["No file was submitted."]}"#,
            "missing_file",
        ),
        (
            Request::post(PICTURE).bearer(access),
            400,
            r#"{"image":["No file was submitted."]}"#,
            "missing_file",
        ),
        (
            Request::new("PUT", PICTURE)
                .bearer(access)
                .body("application/json", b""),
            400,
            r#"{"image":["No file was submitted."]}"#,
            "missing_file",
        ),
        (
            send(&Form::new().text("image", "y")),
            400,
            r#"{"image":["The submitted data was not a file. Check the encoding type on the form."]}"#,
            "not_a_file",
        ),
        (
            send(&Form::image(b"")),
            400,
            r#"{"image":["The submitted file is empty."]}"#,
            "empty",
        ),
        (
            send(&Form::image(b"not a picture")),
            400,
            crate::support::NOT_AN_IMAGE,
            "not_an_image",
        ),
        (
            Request::post(PICTURE).bearer(access).json(&json!({})),
            415,
            r#"{"detail":"Unsupported media type \"application/json\" in request."}"#,
            "unsupported_media_type",
        ),
        (
            Request::post(PICTURE)
                .bearer(access)
                .body("multipart/form-data", b"x"),
            400,
            r#"{"detail":"Multipart form parse error - Invalid boundary in multipart: None"}"#,
            "bad_multipart",
        ),
        (
            send(&Form::image(&pixel)).field("Idempotency-Key", "a b"),
            400,
            r#"{"detail":"The Idempotency-Key must be one text of 1 to 255 visible ASCII characters."}"#,
            "bad_idempotency_key",
        ),
        (
            send(&Form::image(&pixel)).field("If-Match", "\"x\""),
            412,
            r#"{"detail":"The profile is not the one that If-Match names. Fetch it again."}"#,
            "precondition_failed",
        ),
        (
            send(&Form::image(&pixel).text("crop", "0,0,99999,1")),
            400,
            r#"{"crop":["The crop ends at 99999,1, outside the image of 1 x 1 pixels."]}"#,
            "crop_outside",
        ),
    ]
}

#[test]
fn each_refusal_has_its_literal_and_its_problem() {
    let server = Server::start();
    let user = server.register("taken@example.org", "correct horse battery");
    let cases = [
        of_tokens(&user.id, &user.refresh),
        of_accounts(),
        of_uploads(&user.access),
    ];
    for (request, status, body, code) in cases.concat() {
        let reply = server.send(&request);

        assert_eq!(reply.told(), (status, body.to_owned()), "{request:?}");
        assert_eq!(reply.field("content-type"), Some("application/json"));
        let challenge = reply.field("www-authenticate");
        let expected = (status == 401).then_some("Bearer realm=\"api\"");
        assert_eq!(challenge, expected, "{request:?}");

        let asked = request.field("Accept", "application/problem+json");
        let reply = server
            .send(&asked.field("X-Request-Id", "r-1"))
            .expect(status);

        assert_eq!(
            reply.field("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(reply.field("www-authenticate"), expected);
        let problem = reply.json();
        let keys: Vec<_> = problem.as_object().unwrap().keys().collect();
        assert_eq!(keys[..5], ["type", "title", "status", "detail", "code"]);
        assert_eq!(
            problem["type"],
            json!(format!("urn:pockitd:problem:{code}"))
        );
        assert_eq!(problem["code"], json!(code));
        assert_eq!(problem["status"], json!(status));
        assert_eq!(problem["request_id"], json!("r-1"));
        let literal: Value = serde_json::from_str(body).unwrap();
        let is_by_field = literal.as_object().unwrap().values().all(Value::is_array);
        let errors = is_by_field.then_some(&literal);
        assert_eq!(problem.get("errors"), errors, "{code}");
        let first = literal.as_object().unwrap().values().next().unwrap();
        assert_eq!(&problem["detail"], first.get(0).unwrap_or(first));
    }
}

#[test]
fn problem_names_the_limit_and_the_actual_value() {
    let server = Server::with(&[
        ("http.upload_bytes_max", "1000"),
        ("rate_limit.uploads_per_hour", "1"),
    ]);
    let user = server.user();
    let form = Form::image(&vec![0; 200_000]);
    let upload = Request::post(PICTURE).bearer(&user.access).form(&form);
    let upload = upload.field("Accept", "application/problem+json");

    let large = server.send(&upload).expect(400).json();
    let throttled = server.send(&upload).expect(429).json();

    assert_eq!(large["code"], json!("too_many_bytes"));
    assert_eq!(large["limit"], json!(1_000));
    assert_eq!(large["actual"], json!(form.bytes().len()));
    assert_eq!(throttled["code"], json!("throttled"));
    assert_eq!(throttled["limit"], json!(1));
}
