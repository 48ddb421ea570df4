//! Profiles: one's own, others', the name in them, and the URLs.

use serde_json::{Value, json};

use crate::support::{PICTURE, PROFILE, Reply, Request, Server, User, fixture};

fn patch(server: &Server, user: &User, body: &Value) -> Reply {
    server.send(
        &Request::new("PATCH", PROFILE)
            .bearer(&user.access)
            .json(body),
    )
}

fn is_timestamp(value: &Value) -> bool {
    // 2026-01-31T08:09:10.000000Z
    let shape = value.as_str().unwrap_or_default().chars().map(|c| match c {
        '0'..='9' => '9',
        other => other,
    });
    shape.eq("9999-99-99T99:99:99.999999Z".chars())
}

#[test]
fn profile_without_a_picture_names_the_default() {
    let server = Server::start();
    let user = server.register("ada@example.org", "12345678");

    let profile = server.profile(&user);

    let base = format!("http://{}/media/default", server.address());
    assert!(is_timestamp(&profile["created_at"]), "{profile}");
    assert!(is_timestamp(&profile["updated_at"]), "{profile}");
    let expected = json!({
        "user_id": user.id,
        "name": "ada",
        "profile_picture_url": format!("{base}/512.jpg"),
        "profile_picture_thumbnail_url": format!("{base}/128.jpg"),
        "has_picture": false,
        "picture": null,
        "created_at": profile["created_at"],
        "updated_at": profile["updated_at"],
    });
    assert_eq!(profile, expected);
}

#[test]
fn profile_has_its_keys_in_the_order_of_the_documentation() {
    let server = Server::start();
    let (user, _) = server.user_with_picture();

    let reply = server.send(&Request::get(PROFILE).bearer(&user.access));

    let text = reply.text();
    let keys = [
        "user_id",
        "name",
        "profile_picture_url",
        "profile_picture_thumbnail_url",
        "has_picture",
        "picture",
        "id",
        "width",
        "height",
        "thumbhash",
        "urls",
        "512",
        "128",
        "applied",
        "uploaded_at",
        "created_at",
        "updated_at",
    ];
    let mut rest = text.as_str();
    for key in keys {
        let key = format!("\"{key}\":");
        let at = rest
            .find(&key)
            .unwrap_or_else(|| panic!("{key} is missing or out of order in {text}"));
        rest = &rest[at + key.len()..];
    }
}

#[test]
fn picture_in_a_profile_is_described() {
    let server = Server::start();
    let (_, profile) = server.user_with_picture();

    let picture = &profile["picture"];
    let id = picture["id"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
    assert_eq!(picture["width"], json!(512));
    assert_eq!(picture["height"], json!(512));
    let hash = picture["thumbhash"].as_str().unwrap();
    let hash = crate::support::token::from_base64url(hash);
    assert!((5..=25).contains(&hash.len()), "{}", hash.len());
    assert!(is_timestamp(&picture["uploaded_at"]));
    assert_eq!(profile["updated_at"], picture["uploaded_at"]);
    // 352 x 256 with an orientation of 1, which turns nothing.
    assert_eq!(
        picture["applied"],
        json!(["cropped", "enlarged", "metadata_removed"])
    );
}

#[test]
fn name_is_changed_trimmed_and_shown_to_everyone() {
    let server = Server::start();
    let user = server.user();
    let before = server.profile(&user);

    let reply = patch(
        &server,
        &user,
        &json!({ "name": "  Ada Lovelace\u{a0}🙂 " }),
    );

    let profile = reply.expect(200).json();
    assert_eq!(profile["name"], json!("Ada Lovelace\u{a0}🙂"));
    assert_eq!(profile["created_at"], before["created_at"]);
    assert!(profile["updated_at"].as_str() > before["updated_at"].as_str());
    let public = server.get(&format!("/api/users/{}/profile/", user.id));
    assert_eq!(public.expect(200).json(), profile);
}

#[test]
fn name_may_be_a_whole_number_and_nothing_at_all_changes_nothing() {
    let server = Server::start();
    let user = server.user();
    let patch = || Request::new("PATCH", PROFILE).bearer(&user.access);

    let renamed = server
        .send(&patch().json(&json!({ "name": 42 })))
        .expect(200);
    let kept = [
        patch(),
        patch().body("application/json", b""),
        patch().body("text/plain", b""),
    ]
    .map(|request| server.send(&request).expect(200).json());

    assert_eq!(renamed.json()["name"], "42");
    let float = patch().json(&json!({ "name": 42.0 }));
    assert_eq!(server.send(&float).expect(200).json()["name"], "42.0");
    assert_eq!(kept, [(); 3].map(|()| renamed.json()));
}

#[test]
fn name_that_is_not_acceptable_is_400_and_changes_nothing() {
    let server = Server::start();
    let user = server.user();
    let before = server.profile(&user);
    let long = "Ensure this field has no more than 50 characters";
    let cases = [
        (json!(""), "This field may not be blank."),
        (json!("   "), "This field may not be blank."),
        (json!(null), "This field may not be null."),
        (json!(true), "Not a valid string."),
        (json!(["Ada"]), "Not a valid string."),
        (json!("<b>Ada"), "The characters < and > are not allowed."),
        (json!("Ada>"), "The characters < and > are not allowed."),
        (json!("A\nda"), "Control characters are not allowed."),
        (json!("A\u{0}da"), "Null characters are not allowed."),
        (json!(-5), "Not a valid string."),
        (json!(5.5), "Not a valid string."),
        (json!(9_007_199_254_740_992_u64), "Not a valid string."),
        (json!(1e16), "Not a valid string."),
        (json!("A\u{85}da"), "Control characters are not allowed."),
        (json!("A\u{202e}da"), "Control characters are not allowed."),
        (json!("x".repeat(51)), long),
        (json!("ä".repeat(51)), long),
    ];
    for (name, sentence) in cases {
        let reply = patch(&server, &user, &json!({ "name": name })).expect(400);

        let answer = reply.json();
        let found = answer["name"][0].as_str().unwrap();
        assert!(found.starts_with(sentence), "{name}: {found}");
        assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    }
    assert_eq!(server.profile(&user), before);
}

#[test]
fn name_of_one_and_of_fifty_characters_is_accepted() {
    let server = Server::start();
    let user = server.user();
    for name in ["x".to_owned(), "ä".repeat(50), "🙂".repeat(50)] {
        let reply = patch(&server, &user, &json!({ "name": name })).expect(200);

        assert_eq!(reply.json()["name"], json!(name));
    }
}

#[test]
fn patch_without_a_name_changes_nothing_and_other_fields_are_ignored() {
    let server = Server::start();
    let user = server.user();
    let before = server.profile(&user);

    for body in [
        json!({}),
        json!({ "user_id": "x", "has_picture": true, "picture": { "id": "x" } }),
    ] {
        let profile = patch(&server, &user, &body).expect(200).json();

        assert_eq!(profile["name"], before["name"]);
        assert_eq!(profile["user_id"], before["user_id"]);
        assert_eq!(profile["has_picture"], json!(false));
    }
}

#[test]
fn body_that_is_no_object_is_400() {
    let server = Server::start();
    let user = server.user();

    let reply = patch(&server, &user, &json!(["name"]));

    let body = r#"{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}"#;
    assert_eq!(reply.told(), (400, body.to_owned()));
}

#[test]
fn profile_of_another_needs_no_token() {
    let server = Server::start();
    let (user, profile) = server.user_with_picture();

    for path in [
        format!("/api/users/{}/profile/", user.id),
        format!("/api/users/{}/profile", user.id),
    ] {
        assert_eq!(server.get(&path).expect(200).json(), profile);
    }
}

#[test]
fn profile_of_nobody_is_404() {
    let server = Server::start();
    let long = "x".repeat(129);
    for id in [
        "00000000-0000-4000-8000-000000000000",
        "42",
        "..",
        "%00",
        "%2e%2e",
        "%ff",
        "a%2Fb",
        "%F0%9F%99%82",
        long.as_str(),
    ] {
        let reply = server.get(&format!("/api/users/{id}/profile/"));

        let body = r#"{"detail":"Not found."}"#;
        assert_eq!(reply.told(), (404, body.to_owned()), "{id}");
    }
}

#[test]
fn own_profile_without_a_token_is_401() {
    let server = Server::start();
    for request in [
        Request::get(PROFILE),
        Request::new("PATCH", PROFILE).json(&json!({ "name": "Ada" })),
        Request::new("DELETE", PICTURE),
    ] {
        let reply = server.send(&request);

        let body = r#"{"detail":"Authentication credentials were not provided."}"#;
        assert_eq!(reply.told(), (401, body.to_owned()));
    }
}

#[test]
fn urls_follow_the_host_of_the_request() {
    let server = Server::start();
    let (user, _) = server.user_with_picture();

    let request = Request::get(PROFILE)
        .bearer(&user.access)
        .field("Host", "pictures.example.org:8443");
    let profile = server.send(&request).expect(200).json();

    let url = profile["profile_picture_url"].as_str().unwrap();
    assert!(
        url.starts_with("http://pictures.example.org:8443/media/profile_pictures/"),
        "{url}"
    );
}

#[test]
fn host_that_could_break_out_of_a_url_is_refused() {
    let server = Server::start();
    let (user, _) = server.user_with_picture();
    for host in ["evil.org/x", "a\"b", "user@evil.org", "a b", "<script>"] {
        let request = Request::get(PROFILE)
            .bearer(&user.access)
            .field("Host", host);

        server.send(&request).expect(400);
    }
}

#[test]
fn public_url_comes_before_the_host() {
    let server = Server::with(&[("http.public_url", "\"https://img.example.org/pockit\"")]);
    let (user, profile) = server_with_picture(&server);

    let id = profile["picture"]["id"].as_str().unwrap();
    let url = format!("https://img.example.org/pockit/media/profile_pictures/{id}/512.jpg");
    assert_eq!(profile["profile_picture_url"], json!(url));
    let public = server.get(&format!("/api/users/{}/profile/", user.id));
    assert_eq!(public.json()["profile_picture_url"], json!(url));
}

fn server_with_picture(server: &Server) -> (User, Value) {
    let user = server.user();
    let reply = server.upload(&user, &fixture("orientation-1.jpg"));
    (user, reply.expect(200).json())
}
