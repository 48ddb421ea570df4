//! What becomes of an upload: every fixture, every option, and every refusal beside it.

use serde_json::json;

use crate::support::delivered::assert_delivered;
use crate::support::fixtures::{expected, expected_of};
use crate::support::token::from_base64url;
use crate::support::{Form, NOT_AN_IMAGE, PICTURE, Request, Server, fixture, holds};
#[test]
fn every_good_fixture_becomes_two_clean_squares_of_the_right_colours() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    for row in expected().iter().filter(|row| row.status == 200) {
        let reply = server.upload(&user, &fixture(&row.file));

        assert_eq!(reply.status, 200, "{}: {}", row.file, reply.text());
        let profile = reply.json();
        assert_delivered(&server, &profile, row);
        assert_eq!(profile["picture"]["width"], json!(512), "{}", row.file);
        assert_eq!(profile["picture"]["height"], json!(512), "{}", row.file);
    }
}

#[test]
fn every_bad_fixture_is_400_and_keeps_the_old_picture() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let (user, before) = server.user_with_picture();
    let files = server.pictures(&before);
    for row in expected().iter().filter(|row| row.status == 400) {
        let reply = server.upload(&user, &fixture(&row.file));

        assert_eq!(reply.status, 400, "{}: {}", row.file, reply.text());
        let answer = reply.json();
        let sentences = answer["image"].as_array();
        let told = sentences.is_some_and(|all| all.len() == 1 && all[0].is_string());
        assert!(told, "{}: {answer}", row.file);
    }
    assert_eq!(server.profile(&user), before);
    assert_eq!(server.pictures(&before), files);
}

#[test]
fn foreign_format_is_refused_by_its_name() {
    let server = Server::start();
    let user = server.user();
    for (file, name) in [
        ("foreign.gif", "GIF"),
        ("foreign.webp", "WebP"),
        ("foreign.bmp", "BMP"),
        ("foreign.avif", "AVIF"),
        ("foreign.svg", "SVG"),
        ("foreign.pdf", "PDF"),
        ("foreign.jp2", "JPEG 2000"),
    ] {
        let reply = server.upload(&user, &fixture(file));

        let sentence =
            format!("Unsupported image format: {name}. Allowed formats: JPEG, PNG, HEIC.");
        let body = json!({ "image": [sentence] });
        assert_eq!(reply.told(), (400, body.to_string()), "{file}");
    }
}

#[test]
fn too_many_pixels_are_refused_by_the_header_with_limit_and_number() {
    let server = Server::start();
    let user = server.user();
    for (file, pixels) in [
        ("bomb.png", "4290250000"),
        ("bomb.jpg", "4290250000"),
        ("bomb.heic", "256000000"),
    ] {
        let start = std::time::Instant::now();
        let reply = server.upload(&user, &fixture(file)).expect(400);

        let sentence = reply.json()["image"][0].as_str().unwrap().to_owned();
        assert!(
            sentence.contains(pixels) && sentence.contains("67108864"),
            "{file}: {sentence}"
        );
        assert!(start.elapsed().as_secs() < 2, "{file}");
    }
}

#[test]
fn content_decides_and_not_name_or_type() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    for (file, name, kind) in [
        ("rgb.png", "photo.jpg", "image/jpeg"),
        ("orientation-6.jpg", "photo.heic", "image/heic"),
        ("grid.heic", "photo.png", "image/png"),
        ("rgb.png", "photo", "application/octet-stream"),
        ("rgb.png", "photo.exe", "text/html"),
        ("rgb.png", "x", "nonsense"),
    ] {
        let form = Form::new().file("image", name, kind, &fixture(file));
        let profile = server.upload_form(&user, &form).expect(200).json();

        assert_delivered(&server, &profile, &expected_of(file));
    }
    let form = Form::new().file("image", "photo.jpg", "image/jpeg", &fixture("foreign.gif"));
    server.upload_form(&user, &form).expect(400);
    let head = b"Content-Disposition: form-data; name=\"image\"; filename=\"no-type\"\r\n";
    let form = Form::new().part(head, &fixture("rgb.png"));
    server.upload_form(&user, &form).expect(200);
}

#[test]
fn put_does_the_same_as_post() {
    let server = Server::start();
    let (user, before) = server.user_with_picture();
    let form = Form::image(&fixture("rgb.png"));
    let request = Request::new("PUT", PICTURE)
        .bearer(&user.access)
        .form(&form);

    let profile = server.send(&request).expect(200).json();

    assert_delivered(&server, &profile, &expected_of("rgb.png"));
    server
        .get(&server.path(&before["profile_picture_url"]))
        .expect(404);
}

#[test]
fn delete_removes_the_picture_and_may_be_repeated() {
    let server = Server::start();
    let (user, before) = server.user_with_picture();
    let delete = Request::new("DELETE", PICTURE).bearer(&user.access);

    let profile = server.send(&delete).expect(200).json();

    assert_eq!(profile["has_picture"], json!(false));
    assert_eq!(profile["picture"], json!(null));
    let default = format!("http://{}/media/default/512.jpg", server.address());
    assert_eq!(profile["profile_picture_url"], json!(default));
    assert_eq!(profile, server.profile(&user));
    for key in ["profile_picture_url", "profile_picture_thumbnail_url"] {
        server.get(&server.path(&before[key])).expect(404);
    }
    let again = server.send(&delete).expect(200).json();
    assert_eq!(again["has_picture"], json!(false));
}

#[test]
fn same_file_twice_gives_the_same_bytes_under_a_new_url() {
    let server = Server::start();
    let user = server.user();
    for name in ["metadata.jpg", "alpha.png", "grid.heic"] {
        let first = server.upload(&user, &fixture(name)).expect(200).json();
        let files = server.pictures(&first);
        server.upload(&user, &fixture("grey.jpg")).expect(200);

        let second = server.upload(&user, &fixture(name)).expect(200).json();

        assert_ne!(first["picture"]["id"], second["picture"]["id"]);
        assert_eq!(
            first["picture"]["thumbhash"],
            second["picture"]["thumbhash"]
        );
        assert_eq!(server.pictures(&second), files, "{name}");
    }
}

#[test]
fn nothing_of_an_uploads_metadata_is_kept_or_served() {
    let mut server = Server::start();
    let user = server.user();
    for name in [
        "metadata.jpg",
        "metadata.png",
        "exif-6.png",
        "polyglot.jpg",
        "grid.heic",
    ] {
        let reply = server.upload(&user, &fixture(name)).expect(200);
        let profile = reply.json();
        let applied = profile["picture"]["applied"].as_array().unwrap();
        assert!(
            applied.contains(&json!("metadata_removed")),
            "{name}: {applied:?}"
        );
        let (one, other) = server.pictures(&profile);
        for bytes in [reply.body.clone(), one, other] {
            for trace in ["SECRET", "<script", "<?php", "PK\u{3}\u{4}", "Exif", "GPS"] {
                let found = crate::support::client::position(&bytes, trace.as_bytes());
                assert_eq!(found, None, "{name}: {trace}");
            }
        }
    }
    server.stop();
    assert!(!holds(server.home().path(), b"SECRET"));
    assert!(!server.log().contains("SECRET"));
}

#[test]
fn answer_says_what_was_done_to_the_upload() {
    let server = Server::start();
    let user = server.user();
    for (file, done) in [
        ("rgb.png", &["cropped", "enlarged"][..]),
        (
            "orientation-6.jpg",
            &["rotated", "cropped", "enlarged", "metadata_removed"],
        ),
        (
            "orientation-1.jpg",
            &["cropped", "enlarged", "metadata_removed"],
        ),
        ("alpha.png", &["cropped", "enlarged", "flattened"]),
        ("depth-16.png", &["cropped", "enlarged", "depth_reduced"]),
        (
            "p3.jpg",
            &["cropped", "enlarged", "srgb", "metadata_removed"],
        ),
        (
            "cmyk.jpg",
            &["cropped", "enlarged", "srgb", "fallback_decoder"],
        ),
        ("pixel.jpg", &["enlarged"]),
        ("irot-90.heic", &["rotated", "cropped", "enlarged"]),
    ] {
        let profile = server.upload(&user, &fixture(file)).expect(200).json();

        assert_eq!(profile["picture"]["applied"], json!(done), "{file}");
    }
}

#[test]
fn thumbhash_is_that_of_the_picture() {
    let server = Server::start();
    let user = server.user();

    let profile = server.upload(&user, &fixture("rgb.png")).expect(200).json();

    let hash = profile["picture"]["thumbhash"].as_str().unwrap();
    assert_eq!(hash.len() % 4, 0, "standard base64 with padding: {hash}");
    let (width, height, rgba) =
        thumbhash::thumb_hash_to_rgba(&from_base64url(hash)).expect("a ThumbHash");
    assert_eq!((width, height), (32, 32));
    // Top left is red, bottom left blue: enough to know that it is upright and ours.
    let pixel = |x: usize, y: usize| &rgba[(y * width + x) * 4..][..3];
    assert!(pixel(6, 6)[0] > pixel(6, 6)[2] + 60, "{:?}", pixel(6, 6));
    assert!(pixel(6, 25)[2] > pixel(6, 25)[0] + 60, "{:?}", pixel(6, 25));
}

#[test]
fn refusal_is_a_problem_document_for_those_who_ask() {
    let server = Server::start();
    let user = server.user();
    let form = Form::image(&fixture("bomb.png"));
    let request = Request::post(PICTURE)
        .bearer(&user.access)
        .field("Accept", "application/problem+json")
        .form(&form);

    let reply = server.send(&request).expect(400);

    assert_eq!(
        reply.field("content-type"),
        Some("application/problem+json")
    );
    let problem = reply.json();
    assert_eq!(problem["status"], json!(400));
    assert_eq!(problem["limit"], json!(67_108_864));
    assert_eq!(problem["actual"], json!(4_290_250_000_u64));
    for key in ["type", "title", "detail", "code"] {
        assert!(problem[key].is_string(), "{key}: {problem}");
    }
}

#[test]
fn broken_picture_is_told_in_one_sentence_that_guesses_nothing() {
    let server = Server::start();
    let user = server.user();
    for name in [
        "truncated.jpg",
        "truncated.png",
        "truncated.heic",
        "head-only.jpg",
    ] {
        let reply = server.upload(&user, &fixture(name));

        assert_eq!(reply.told(), (400, NOT_AN_IMAGE.to_owned()), "{name}");
    }
}
