//! What the operator configures and the uploader chooses: fit, background, sizes, quality, and the crop.

use serde_json::{Value, json};

use crate::support::delivered::{TOLERANCE, assert_delivered};
use crate::support::fixtures::expected_of;
use crate::support::jpeg::{Pixels, assert_clean, assert_colors, is_progressive};
use crate::support::{Form, Reply, Server, User, fixture};

const RED: [u8; 3] = [208, 48, 40];
const WHITE: [u8; 3] = [255; 3];

#[test]
fn fit_pad_shows_the_whole_picture_between_bars() {
    let server = Server::with(&[("picture.fit", "\"pad\"")]);
    let user = server.user();
    for (file, wide) in [
        ("rgb.png", true),
        ("orientation-6.jpg", true),
        ("irot-90.heic", false),
    ] {
        let profile = server.upload(&user, &fixture(file)).expect(200).json();

        let (bytes, _) = server.pictures(&profile);
        assert_clean(&bytes, file);
        let picture = Pixels::decode(&bytes);
        assert_eq!((picture.width, picture.height), (512, 512), "{file}");
        // Bars of (512 - 372) / 2 = 70 pixels on two sides, the cut-off black on the other two.
        let across = |along: f64, side: f64| {
            if wide {
                picture.around(along, side, 0.03)
            } else {
                picture.around(side, along, 0.03)
            }
        };
        for side in [0.05, 0.95] {
            assert_colors(
                &[across(0.5, side)],
                &[WHITE],
                TOLERANCE,
                &format!("{file}, bar"),
            );
        }
        for end in [0.05, 0.95] {
            assert_colors(&[across(end, 0.3)], &[[0; 3]], 28, &format!("{file}, end"));
        }
        let expected = expected_of(file).quadrants;
        let centres = [(0.35, 0.35), (0.65, 0.35), (0.35, 0.65), (0.65, 0.65)];
        let found = centres.map(|(x, y)| picture.around(x, y, 0.05));
        assert_colors(&found, &expected, TOLERANCE, file);
        let applied = profile["picture"]["applied"].as_array().unwrap();
        assert!(applied.contains(&json!("padded")) && !applied.contains(&json!("cropped")));
    }
}

#[test]
fn fit_inside_keeps_the_proportions() {
    let server = Server::with(&[("picture.fit", "\"inside\"")]);
    let user = server.user();
    for (file, size, small) in [
        ("rgb.png", (512, 372), (128, 93)),
        ("irot-90.heic", (372, 512), (93, 128)),
        ("grid.heic", (372, 512), (93, 128)),
    ] {
        let profile = server.upload(&user, &fixture(file)).expect(200).json();

        let (bytes, thumbnail) = server.pictures(&profile);
        let picture = Pixels::decode(&bytes);
        let thumbnail = Pixels::decode(&thumbnail);
        assert_eq!((picture.width, picture.height), size, "{file}");
        assert_eq!((thumbnail.width, thumbnail.height), small, "{file}");
        assert_eq!(profile["picture"]["width"], json!(size.0));
        assert_eq!(profile["picture"]["height"], json!(size.1));
        let centres = [(0.35, 0.35), (0.65, 0.35), (0.35, 0.65), (0.65, 0.65)];
        let found = centres.map(|(x, y)| picture.around(x, y, 0.05));
        assert_colors(&found, &expected_of(file).quadrants, TOLERANCE, file);
    }
}

#[test]
fn background_is_configured() {
    let server = Server::with(&[
        ("picture.fit", "\"pad\""),
        ("picture.background", "\"#204060\""),
    ]);
    let user = server.user();

    let profile = server
        .upload(&user, &fixture("alpha.png"))
        .expect(200)
        .json();

    let picture = large(&server, &profile);
    let background = [0x20, 0x40, 0x60];
    assert_colors(
        &[picture.around(0.5, 0.05, 0.03)],
        &[background],
        TOLERANCE,
        "bar",
    );
    // Where the upload is wholly transparent, and where green is half transparent.
    assert_colors(
        &[picture.around(0.65, 0.65, 0.05)],
        &[background],
        TOLERANCE,
        "transparent",
    );
    let half = [0x24, 0x70, 0x54];
    assert_colors(
        &[picture.around(0.65, 0.35, 0.05)],
        &[half],
        TOLERANCE,
        "half",
    );
    assert_colors(
        &[picture.around(0.35, 0.35, 0.05)],
        &[RED],
        TOLERANCE,
        "opaque",
    );
}

#[test]
fn sizes_quality_and_progression_are_configured() {
    let server = Server::with(&[
        ("picture.sizes_px", "[300, 96, 48]"),
        ("picture.progressive", "true"),
        ("picture.quality", "30"),
    ]);
    let user = server.user();
    assert!(
        server.profile(&user)["profile_picture_url"]
            .as_str()
            .unwrap()
            .ends_with("/300.jpg")
    );

    let profile = server
        .upload(&user, &fixture("grid.heic"))
        .expect(200)
        .json();

    let urls = profile["picture"]["urls"].as_object().unwrap();
    assert_eq!(urls.len(), 3, "{urls:?}");
    for side in [300, 96, 48] {
        let bytes = server
            .get(&server.path(&urls[&side.to_string()]))
            .expect(200)
            .body;
        let picture = Pixels::decode(&bytes);
        assert_eq!((picture.width, picture.height), (side, side));
        assert!(is_progressive(&bytes));
    }
    assert_eq!(profile["profile_picture_url"], urls["300"]);
    assert_eq!(profile["profile_picture_thumbnail_url"], urls["48"]);
    assert_eq!(profile["picture"]["width"], json!(300));
    let low = server.pictures(&profile).0.len();

    let server = Server::with(&[("picture.sizes_px", "[300]"), ("picture.quality", "95")]);
    let user = server.user();
    let profile = server
        .upload(&user, &fixture("grid.heic"))
        .expect(200)
        .json();
    let (bytes, _) = server.pictures(&profile);
    assert!(!is_progressive(&bytes));
    assert!(bytes.len() > low * 3 / 2, "{} and {low}", bytes.len());
    assert_eq!(
        profile["profile_picture_url"],
        profile["profile_picture_thumbnail_url"]
    );
}

/// Uploads with a crop.
fn upload_cropped(server: &Server, user: &User, name: &str, crop: &str) -> Reply {
    let form = Form::image(&fixture(name)).text("crop", crop);
    server.upload_form(user, &form)
}

fn large(server: &Server, profile: &Value) -> Pixels {
    Pixels::decode(&server.pictures(profile).0)
}

#[test]
fn crop_is_in_pixels_of_the_upright_picture() {
    let server = Server::with(&[("rate_limit.uploads_per_hour", "0")]);
    let user = server.user();
    // The four colours lie in 48..304 x 0..256 of 352 x 256, however the file is stored.
    for file in [
        "rgb.png",
        "orientation-1.jpg",
        "orientation-6.jpg",
        "orientation-7.jpg",
    ] {
        let colors = expected_of(file).quadrants;
        for (at, crop) in [
            "48,0,128,128",
            "176, 0, 128, 128",
            "48,128,128,128",
            "176,128,128,128",
        ]
        .iter()
        .enumerate()
        {
            let reply = upload_cropped(&server, &user, file, crop);

            let profile = reply.expect(200).json();
            let picture = large(&server, &profile);
            assert_eq!((picture.width, picture.height), (512, 512));
            let what = format!("{file} {crop}");
            assert_colors(&picture.quadrants(), &[colors[at]; 4], TOLERANCE, &what);
            let applied = profile["picture"]["applied"].as_array().unwrap();
            assert!(applied.contains(&json!("cropped")), "{applied:?}");
        }
    }
    for file in ["irot-90.heic", "irot-270.heic", "grid.heic"] {
        let (width, height) = expected_of(file).upright.unwrap();
        let (side, top) = (width / 2, (height - width) / 2);
        let crop = format!("{side},{},{side},{side}", top + side);
        let profile = upload_cropped(&server, &user, file, &crop)
            .expect(200)
            .json();

        let color = expected_of(file).quadrants[3];
        let picture = large(&server, &profile);
        assert_colors(&picture.quadrants(), &[color; 4], TOLERANCE, file);
    }
}

#[test]
fn crop_that_is_not_square_is_fitted_like_a_whole_picture() {
    let server = Server::start();
    let user = server.user();

    let profile = upload_cropped(&server, &user, "rgb.png", "48,64,256,128")
        .expect(200)
        .json();

    let picture = large(&server, &profile);
    assert_eq!((picture.width, picture.height), (512, 512));
    let expected = expected_of("rgb.png").quadrants;
    assert_colors(
        &picture.quadrants(),
        &expected,
        TOLERANCE,
        "the middle of the crop",
    );
    let mut whole = upload_cropped(&server, &user, "rgb.png", "0,0,352,256")
        .expect(200)
        .json();
    assert_delivered(&server, &whole, &expected_of("rgb.png"));
    whole = upload_cropped(&server, &user, "rgb.png", "")
        .expect(200)
        .json();
    assert_delivered(&server, &whole, &expected_of("rgb.png"));
}

#[test]
fn crop_may_come_before_the_image() {
    let server = Server::start();
    let user = server.user();
    let form = Form::new().text("crop", "48,0,128,128").file(
        "image",
        "a.png",
        "image/png",
        &fixture("rgb.png"),
    );

    let profile = server.upload_form(&user, &form).expect(200).json();

    let picture = large(&server, &profile);
    assert_colors(&picture.quadrants(), &[RED; 4], TOLERANCE, "red alone");
}

#[test]
fn crop_that_cannot_be_is_400_and_changes_nothing() {
    let server = Server::start();
    let (user, before) = server.user_with_picture();
    for crop in [
        "1,2,3",
        "1,2,3,4,5",
        "a,b,c,d",
        "-1,0,10,10",
        "0,0,0,10",
        "0,0,10,0",
        "1.5,0,10,10",
        "0,0,4294967296,10",
        "0,0,353,256",
        "0,0,352,257",
        "352,0,1,1",
        "4294967295,4294967295,4294967295,4294967295",
    ] {
        let reply = upload_cropped(&server, &user, "rgb.png", crop).expect(400);

        let answer = reply.json();
        assert!(answer["crop"][0].is_string(), "{crop}: {answer}");
    }
    // The rotated file is 256 wide as stored, and 352 wide upright.
    upload_cropped(&server, &user, "orientation-6.jpg", "0,0,256,352").expect(400);
    assert_eq!(server.profile(&user), before);
}

#[test]
fn pixel_limit_is_configured_and_exact() {
    // 352 x 256 = 90112
    let server = Server::with(&[("picture.pixels_max", "90112")]);
    let user = server.user();
    server.upload(&user, &fixture("rgb.png")).expect(200);

    let server = Server::with(&[("picture.pixels_max", "90111")]);
    let user = server.user();
    for name in ["rgb.png", "orientation-6.jpg", "single.heic"] {
        let reply = server.upload(&user, &fixture(name)).expect(400);
        let sentence = reply.json()["image"][0].as_str().unwrap().to_owned();
        assert!(
            sentence.contains("90112") && sentence.contains("90111"),
            "{name}: {sentence}"
        );
    }
}
