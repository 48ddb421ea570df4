//! The specification's own checklist: one test for each of its acceptance lines.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::delivered::assert_delivered;
use crate::support::fixtures::{expected_of, photo_12_megapixels};
use crate::support::jpeg::{Pixels, assert_clean};
use crate::support::{
    Form, NOT_AN_IMAGE, PICTURE, Request, Server, UPLOAD_BYTES_MAX, User, fixture,
};

/// Uploads a fixture, asserts 200, and returns the profile.
#[track_caller]
fn accepted(server: &Server, user: &User, name: &str) -> Value {
    server.upload(user, &fixture(name)).expect(200).json()
}

#[test]
fn valid_jpg_with_authentication_is_200_and_becomes_a_square_jpg() {
    let server = Server::start();
    let user = server.user();

    let profile = accepted(&server, &user, "orientation-1.jpg");

    assert_delivered(&server, &profile, &expected_of("orientation-1.jpg"));
}

#[test]
fn valid_png_becomes_jpg() {
    let server = Server::start();
    let user = server.user();

    let profile = accepted(&server, &user, "rgb.png");

    assert_delivered(&server, &profile, &expected_of("rgb.png"));
}

#[test]
fn valid_heic_of_many_tiles_with_rotation_p3_and_gps_becomes_a_clean_jpg() {
    let server = Server::start();
    let user = server.user();

    let profile = accepted(&server, &user, "grid.heic");

    // Upright by `irot` and not once more by EXIF, sRGB, and without a trace of the place.
    assert_delivered(&server, &profile, &expected_of("grid.heic"));
    let applied = profile["picture"]["applied"].as_array().unwrap();
    for done in ["rotated", "cropped", "srgb", "metadata_removed"] {
        assert!(applied.contains(&json!(done)), "{done}: {applied:?}");
    }
}

#[test]
fn picture_over_5_mb_is_400() {
    let server = Server::start();
    let (user, before) = server.user_with_picture();
    let too_large = crate::support::fixtures::jpeg_of_bytes(UPLOAD_BYTES_MAX + 1);

    let reply = server.upload(&user, &too_large).expect(400);

    let sentence = reply.json()["image"][0].as_str().unwrap().to_owned();
    assert!(
        sentence.starts_with("The file is too large: "),
        "{sentence}"
    );
    assert!(sentence.contains("5242880"), "{sentence}");
    assert_eq!(server.profile(&user), before);
}

#[test]
fn corrupt_image_is_400() {
    let server = Server::start();
    let user = server.user();

    for name in [
        "corrupt.jpg",
        "corrupt.png",
        "corrupt.heic",
        "truncated.jpg",
    ] {
        let reply = server.upload(&user, &fixture(name));

        assert_eq!(reply.told(), (400, NOT_AN_IMAGE.to_owned()), "{name}");
    }
}

#[test]
fn file_that_is_no_image_is_400() {
    let server = Server::start();
    let user = server.user();

    let reply = server.upload(&user, b"This is not an image at all.\n");

    assert_eq!(reply.told(), (400, NOT_AN_IMAGE.to_owned()));
}

#[test]
fn upload_without_authentication_is_401() {
    let server = Server::start();
    let form = Form::image(&fixture("orientation-1.jpg"));

    let reply = server.send(&Request::post(PICTURE).form(&form));

    let body = r#"{"detail":"Authentication credentials were not provided."}"#;
    assert_eq!(reply.told(), (401, body.to_owned()));
    assert_eq!(
        reply.field("www-authenticate"),
        Some("Bearer realm=\"api\"")
    );
}

#[test]
fn old_picture_is_deleted_when_a_new_one_is_uploaded() {
    let server = Server::start();
    let (user, first) = server.user_with_picture();
    let old = ["profile_picture_url", "profile_picture_thumbnail_url"]
        .map(|key| server.path(&first[key]));

    let second = accepted(&server, &user, "rgb.png");

    for path in old {
        server.get(&path).expect(404);
    }
    server.pictures(&second);
    assert_ne!(first["picture"]["id"], second["picture"]["id"]);
}

#[test]
fn answer_has_the_full_profile_with_new_urls_that_deliver() {
    let server = Server::start();
    let user = server.user();
    let before = server.profile(&user);

    let profile = accepted(&server, &user, "orientation-1.jpg");

    let id = profile["picture"]["id"].as_str().unwrap();
    let base = format!("http://{}/media/profile_pictures/{id}", server.address());
    assert_eq!(profile["user_id"], json!(user.id));
    assert_eq!(profile["name"], before["name"]);
    assert_eq!(profile["has_picture"], json!(true));
    assert_eq!(
        profile["profile_picture_url"],
        json!(format!("{base}/512.jpg"))
    );
    assert_eq!(
        profile["profile_picture_thumbnail_url"],
        json!(format!("{base}/128.jpg"))
    );
    assert_eq!(
        profile["picture"]["urls"],
        json!({ "512": format!("{base}/512.jpg"), "128": format!("{base}/128.jpg") })
    );
    assert_eq!(profile["created_at"], before["created_at"]);
    assert_eq!(profile, server.profile(&user));
    let (large, small) = server.pictures(&profile);
    assert_eq!(Pixels::decode(&large).width, 512);
    assert_eq!(Pixels::decode(&small).width, 128);
}

#[test]
fn photo_of_2_mb_and_12_megapixels_takes_well_under_5_seconds() {
    let server = Server::start();
    let user = server.user();
    let photo = photo_12_megapixels();
    assert!(
        (1_500_000..3_000_000).contains(&photo.len()),
        "{}",
        photo.len()
    );

    let start = Instant::now();
    let reply = server.upload(&user, &photo);
    let took = start.elapsed();

    println!(
        "an upload of {} bytes and 12 megapixels took {took:?}",
        photo.len()
    );
    let (large, _) = server.pictures(&reply.expect(200).json());
    assert_clean(&large, "12 megapixels");
    assert!(took < Duration::from_millis(2_500), "{took:?}");
}

#[test]
fn png_with_alpha_is_laid_on_white() {
    let server = Server::start();
    let user = server.user();

    let profile = accepted(&server, &user, "alpha.png");

    assert_delivered(&server, &profile, &expected_of("alpha.png"));
}

#[test]
fn rotated_jpg_is_upright() {
    let server = Server::start();
    let user = server.user();

    for orientation in 1..=8 {
        let name = format!("orientation-{orientation}.jpg");
        let profile = accepted(&server, &user, &name);

        assert_delivered(&server, &profile, &expected_of(&name));
    }
}

#[test]
fn p3_photo_is_converted_to_srgb() {
    let server = Server::start();
    let user = server.user();

    for name in ["p3.jpg", "p3.png", "p3.heic"] {
        let profile = accepted(&server, &user, name);

        assert_delivered(&server, &profile, &expected_of(name));
    }
}
