//! `pockitd migrate rerender` and `picture.keep_original`.

use serde_json::{Value, json};

use super::{archive, entries, home, import};

use crate::support::fixtures::repository;
use crate::support::jpeg::Pixels;
use crate::support::process::Outcome;
use crate::support::process::assert_failed;
use crate::support::raw::Raw;
use crate::support::server::Home;
use crate::support::{Form, Server, Setup, User, fixture, holds};

pub fn rerender(home: &Home, arguments: &[&str]) -> Value {
    let arguments = [&["migrate", "rerender", "--json"], arguments].concat();
    summary(&home.run(&arguments).expect(0))
}

fn summary(outcome: &Outcome) -> Value {
    let last = outcome.stdout.lines().last().expect("there is a summary");
    serde_json::from_str::<Value>(last).unwrap()["summary"].clone()
}

/// What is counted of all pictures; what is not named is 0.
fn counted(pictures: u64, named: &[(&str, u64)]) -> Value {
    let keys = [
        "pictures",
        "from_original",
        "from_rendition",
        "refused_originals",
        "damaged_originals",
        "damaged_renditions",
        "unchanged",
        "too_small",
        "gone",
        "failed",
    ];
    let mut sum: serde_json::Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), json!(0)))
        .collect();
    sum["pictures"] = json!(pictures);
    for (key, count) in named {
        sum[*key] = json!(count);
    }
    Value::Object(sum)
}

/// The same data with other settings.
pub fn with(home: &Home, key: &str, value: &str) {
    let file = home.path().join("test.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with(key));
    let text: String = kept.map(|line| format!("{line}\n")).collect();
    std::fs::write(file, format!("{text}{key} = {value}\n")).unwrap();
}

fn sides(server: &Server, profile: &Value) -> Vec<usize> {
    let urls = profile["picture"]["urls"].as_object().unwrap();
    let files = urls
        .values()
        .map(|url| server.get(&server.path(url)).expect(200).body);
    files.map(|file| Pixels::decode(&file).width).collect()
}

/// Somebody whose upload was kept, and is larger than their pictures.
fn kept_and_small() -> (Server, User, Value) {
    let small = Setup::new().set("picture.sizes_px", "[64, 32]");
    uploaded(
        small.set("picture.keep_original", "true"),
        "orientation-6.jpg",
    )
}

fn uploaded(setup: Setup, file: &str) -> (Server, User, Value) {
    let server = setup.start();
    let user = server.user();
    let profile = server.upload(&user, &fixture(file)).expect(200).json();
    (server, user, profile)
}

#[test]
fn pictures_get_the_sizes_of_now_and_nothing_larger_than_there_was() {
    let setup = Setup::new().set("picture.sizes_px", "[128, 64]");
    let (mut server, user, before) = uploaded(setup, "orientation-6.jpg");
    let plain = server.user();
    assert_eq!(
        rerender(server.home(), &[]),
        counted(1, &[("unchanged", 1)])
    );
    server.stop();
    with(server.home(), "picture.sizes_px", "[256, 96, 48]");

    let dry = rerender(server.home(), &["--dry-run"]);
    assert_eq!(dry, counted(1, &[("from_rendition", 1)]));
    assert_eq!(
        rerender(server.home(), &["--dry-run"]),
        dry,
        "nothing was written"
    );
    assert_eq!(rerender(server.home(), &[]), dry);
    assert_eq!(
        rerender(server.home(), &[]),
        counted(1, &[("unchanged", 1)])
    );

    server.restart();
    let after = server.profile(&user);
    assert_eq!(sides(&server, &after), [96, 48]);
    assert_eq!(
        (&after["picture"]["width"], &after["has_picture"]),
        (&json!(96), &json!(true))
    );
    assert_ne!(
        after["picture"]["id"], before["picture"]["id"],
        "a picture never changes"
    );
    assert_eq!(
        after["picture"]["uploaded_at"],
        before["picture"]["uploaded_at"]
    );
    assert!(after["updated_at"].as_str() > before["updated_at"].as_str());
    let applied = after["picture"]["applied"].as_array().unwrap();
    assert!(applied.contains(&json!("rotated")), "{applied:?}");
    let url = before["profile_picture_url"].as_str().unwrap();
    server.get(&url[url.find("/media").unwrap()..]).expect(404);
    assert_eq!(server.profile(&plain)["has_picture"], json!(false));
    server.home().run(&["check", "store"]).expect(0);
}

#[test]
fn picture_smaller_than_every_size_is_left_alone() {
    let setup = Setup::new().set("picture.sizes_px", "[64]");
    let (mut server, user, before) = uploaded(setup, "rgb.png");
    server.stop();
    with(server.home(), "picture.sizes_px", "[256, 128]");

    assert_eq!(
        rerender(server.home(), &[]),
        counted(1, &[("too_small", 1)])
    );

    server.restart();
    assert_eq!(
        server.profile(&user)["picture"]["id"],
        before["picture"]["id"]
    );
}

#[test]
fn kept_upload_is_never_served_and_makes_larger_pictures_beside_a_server() {
    let (mut server, user, before) = kept_and_small();
    let id = before["picture"]["id"].as_str().unwrap();
    for size in ["0", "64/original", "original"] {
        let url = format!("/media/profile_pictures/{id}/{size}.jpg");
        server.get(&url).expect(404);
    }
    server.stop();
    with(server.home(), "picture.sizes_px", "[256, 128]");
    server.restart();

    let made = rerender(server.home(), &[]);

    assert_eq!(made, counted(1, &[("from_original", 1)]));
    assert_eq!(
        rerender(server.home(), &[]),
        counted(1, &[("unchanged", 1)])
    );
    let after = server.profile(&user);
    assert_eq!(sides(&server, &after), [256, 128]);
    // It is the picture that an upload of now makes.
    let files = server.pictures(&after);
    let again = server
        .upload(&user, &fixture("orientation-6.jpg"))
        .expect(200)
        .json();
    assert_eq!(server.pictures(&again), files);
    server.home().run(&["check", "store"]).expect(0);
    assert!(
        holds(&server.home().data_dir(), b"Exif"),
        "the upload is there, with all that is in it"
    );
}

#[test]
fn upload_that_is_refused_now_stays_and_the_picture_is_made_of_its_largest_rendition() {
    let (mut server, user, before) = kept_and_small();
    server.stop();
    with(server.home(), "picture.sizes_px", "[96, 48, 24]");
    with(server.home(), "picture.pixels_max", "5000");

    let made = rerender(server.home(), &[]);

    let counts = [("from_rendition", 1), ("refused_originals", 1)];
    assert_eq!(made, counted(1, &counts));
    server.restart();
    let after = server.profile(&user);
    assert_eq!(sides(&server, &after), [48, 24], "nothing is enlarged");
    let applied = after["picture"]["applied"].as_array().unwrap();
    assert!(applied.contains(&json!("rotated")), "{applied:?}");
    assert_ne!(after["picture"]["id"], before["picture"]["id"]);
    server.stop();
    // Once it is accepted again, it is used again.
    with(server.home(), "picture.pixels_max", "64000000");
    with(server.home(), "picture.sizes_px", "[96, 48]");
    let again = rerender(server.home(), &[]);
    assert_eq!(again, counted(1, &[("from_original", 1)]));
    server.restart();
    assert_eq!(sides(&server, &server.profile(&user)), [96, 48]);
    server.home().run(&["check", "store"]).expect(0);
}

#[test]
fn chosen_crop_is_kept_with_the_upload() {
    let setup = Setup::new()
        .set("picture.sizes_px", "[64]")
        .set("picture.keep_original", "true");
    let mut server = setup.start();
    let user = server.user();
    let form = || Form::image(&fixture("orientation-6.jpg")).text("crop", "10,20,100,100");
    server.upload_form(&user, &form()).expect(200);
    server.stop();
    with(server.home(), "picture.sizes_px", "[96]");
    rerender(server.home(), &[]);
    server.restart();

    let files = server.pictures(&server.profile(&user));

    let again = server.upload_form(&user, &form()).expect(200).json();
    assert_eq!(server.pictures(&again), files);
}

#[test]
fn kept_upload_moves_with_its_picture() {
    let setup = Setup::new()
        .set("picture.sizes_px", "[64]")
        .set("picture.keep_original", "true");
    let mut server = setup.start();
    let user = server.user();
    let upload = fixture("orientation-6.jpg");
    let form = || Form::image(&upload).text("crop", "10,20,100,100");
    let profile = server.upload_form(&user, &form()).expect(200).json();
    let id = profile["picture"]["id"].as_str().unwrap();
    let said = server
        .home()
        .run(&["migrate", "export", "out.tar"])
        .expect(0);
    assert!(said.stderr.contains("1 uploads that were kept"), "{said:?}");
    let file = server.home().path().join("out.tar");
    let file = file.to_str().unwrap();
    let written = entries(file);
    let kept = written
        .iter()
        .find(|(path, _)| *path == format!("originals/{id}"));
    assert_eq!(kept.unwrap().1, upload, "byte for byte");
    let (path, lines) = &written[1];
    let line: Value = serde_json::from_slice(lines).unwrap();
    let said = &line["profile"]["picture"]["original"];
    let crop = json!({ "x": 10, "y": 20, "width": 100, "height": 100 });
    assert_eq!(
        (&said["bytes"], &said["crop"]),
        (&json!(upload.len()), &crop)
    );
    let manual = repository().join("man/pockitd-archive.5");
    let manual = std::fs::read_to_string(manual).unwrap();
    for key in said
        .as_object()
        .unwrap()
        .keys()
        .chain([&"original_bytes".to_owned()])
    {
        assert!(manual.contains(key.as_str()), "{path}: {key}");
    }

    let other = home();
    assert_eq!(import(&other, &[file])["added"], json!(1));
    assert_eq!(import(&other, &[file])["unchanged"], json!(1));
    let same = ("picture.sizes_px", "[64]");
    with(&other, same.0, same.1);
    assert_eq!(
        rerender(&other, &[]),
        counted(1, &[("unchanged", 1)]),
        "the settings that it was made with have come along"
    );
    with(&other, "picture.sizes_px", "[96]");
    assert_eq!(rerender(&other, &[]), counted(1, &[("from_original", 1)]));

    // It is the picture that an upload makes with these settings.
    server.stop();
    with(server.home(), "picture.sizes_px", "[96]");
    server.restart();
    server.upload_form(&user, &form()).expect(200);
    let files = |home: &Home| -> Vec<Vec<u8>> {
        home.run(&["migrate", "export", "again.tar"]).expect(0);
        let again = entries(home.path().join("again.tar").to_str().unwrap());
        let files = again.into_iter().filter(|(path, _)| !path.contains("json"));
        files.map(|(_, bytes)| bytes).collect()
    };
    assert_eq!(files(&other), files(server.home()));
    let mut meddled = written;
    let kept = meddled
        .iter_mut()
        .find(|(path, _)| path.starts_with("originals/"));
    kept.unwrap().1[100] ^= 1;
    let file = archive(&other, &meddled);
    let refused = home().run(&["migrate", "import", &file]);
    assert_failed(&refused, &[&format!("originals/{id}"), "SHA-256"]);
}

#[test]
fn replaced_and_removed_uploads_leave_nothing() {
    let setup = Setup::new().set("picture.keep_original", "true");
    let (mut server, user, _) = uploaded(setup, "orientation-6.jpg");
    server.upload(&user, &fixture("rgb.png")).expect(200);
    server.stop();
    let before = Raw::open(&server.home().data_dir())
        .picture_of(&user.id)
        .count();
    server.restart();
    server.home().run(&["check", "store"]).expect(0);
    assert!(before > 3, "the upload is there as well");
    server.home().run(&["user", "delete", &user.id]).expect(0);
    let gc = server
        .home()
        .run(&["gc-pictures", "--older-than", "1"])
        .expect(0);
    assert!(gc.stdout.starts_with("0 findings"), "{gc:?}");
}

#[test]
fn damaged_upload_is_found_and_forgotten_and_the_picture_stays() {
    let setup = Setup::new().set("picture.keep_original", "true");
    let (mut server, user, before) = uploaded(setup, "orientation-6.jpg");
    server.stop();
    Raw::open(&server.home().data_dir()).damage_original(&user.id);

    let checked = server.home().run(&["check", "store"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(
        checked.stdout.starts_with("unreadable original"),
        "{checked:?}"
    );
    let gc = server.home().run(&["gc-pictures", "--repair"]).expect(0);
    assert!(gc.stdout.contains("put right"), "{gc:?}");

    server.home().run(&["check", "store"]).expect(0);
    with(server.home(), "picture.quality", "50");
    assert_eq!(rerender(server.home(), &[])["from_rendition"], json!(1));
    server.restart();
    assert_eq!(
        server.profile(&user)["picture"]["width"],
        before["picture"]["width"]
    );
}

#[test]
fn damaged_upload_gives_way_to_the_largest_rendition() {
    let (mut server, user, _) = kept_and_small();
    server.stop();
    Raw::open(&server.home().data_dir()).damage_original(&user.id);
    with(server.home(), "picture.sizes_px", "[96, 48]");

    let counts = counted(1, &[("from_rendition", 1), ("damaged_originals", 1)]);
    assert_eq!(rerender(server.home(), &["--dry-run"]), counts);
    assert_eq!(rerender(server.home(), &[]), counts);

    assert_eq!(
        rerender(server.home(), &[]),
        counted(1, &[("unchanged", 1)])
    );
    server.home().run(&["check", "store"]).expect(0);
    server.restart();
    assert_eq!(sides(&server, &server.profile(&user)), [48]);
}

#[test]
fn damaged_rendition_gives_way_to_the_next_smaller_one() {
    let small = Setup::new().set("picture.sizes_px", "[128, 64, 32]");
    let (mut server, user, _) = uploaded(small, "orientation-6.jpg");
    server.stop();
    let raw = Raw::open(&server.home().data_dir());
    // Of the largest, whose number comes last.
    raw.damage_last(&raw.picture_of(&user.id));
    drop(raw);
    with(server.home(), "picture.sizes_px", "[96, 48, 24]");

    let said = server.home().run(&["migrate", "rerender"]).expect(0);

    let words = "1 of the largest rendition (1 of a smaller one, as the largest is damaged)";
    assert!(said.stdout.contains(words), "{said:?}");
    server.home().run(&["check", "store"]).expect(0);
    server.restart();
    assert_eq!(sides(&server, &server.profile(&user)), [48, 24]);
}

/// The picture cannot be made anew, and the user is named.
fn assert_failed_for(server: &Server, user: &User) {
    let outcome = server.home().run(&["migrate", "rerender"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains(&user.id), "{outcome:?}");
    assert!(
        outcome.stderr.contains("1 pictures were not made anew"),
        "{outcome:?}"
    );
}

#[test]
fn lost_picture_is_named_and_the_others_are_made() {
    let (mut server, lost, _) = uploaded(Setup::new(), "rgb.png");
    let (other, before) = server.user_with_picture();
    server.stop();
    let raw = Raw::open(&server.home().data_dir());
    raw.remove(&raw.picture_of(&lost.id));
    drop(raw);
    with(server.home(), "picture.quality", "50");

    assert_failed_for(&server, &lost);

    server.restart();
    let after = server.profile(&other);
    assert_ne!(after["picture"]["id"], before["picture"]["id"]);
    assert_eq!(after["picture"]["width"], before["picture"]["width"]);
}
