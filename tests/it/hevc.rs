//! `picture.hevc_decoder`: who decodes HEIC photos, told by a counter, and both locked in.

use crate::support::{Request, Server, fixture};

/// How many pictures each decoder has made, for the names of the two.
fn decoded(server: &Server) -> [u64; 2] {
    let log = server.log();
    let line = log.lines().find(|line| line.contains("serving metrics"));
    let (_, rest) = line.unwrap().split_once("http://").unwrap();
    let address = rest[..rest.find("/metrics").unwrap()].parse().unwrap();
    let text = Request::get("/metrics").send(address).expect(200).body;
    let text = String::from_utf8(text).unwrap();
    ["libde265", "libavcodec"].map(|name| {
        let sample = format!("pockitd_pictures_decoded_total{{decoder=\"{name}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&*sample));
        value.unwrap().parse().unwrap()
    })
}

fn server(choice: &str) -> Server {
    Server::with(&[
        ("metrics.listen", "\"127.0.0.1:0\""),
        ("picture.hevc_decoder", &format!("{choice:?}")),
        ("workers.require_sandbox", "true"),
    ])
}

fn upload_of_a_photo(choice: &str) -> [u64; 2] {
    let server = server(choice);
    let user = server.user();

    server.upload(&user, &fixture("grid.heic")).expect(200);
    // Damage is a refusal, not a death, in each of them.
    server.upload(&user, &fixture("corrupt.heic")).expect(400);

    assert!(!server.log().contains("died"), "{}", server.log());
    decoded(&server)
}

#[test]
fn photo_is_decoded_by_libde265_where_it_is_chosen() {
    assert_eq!(upload_of_a_photo("libde265"), [1, 0]);
}

#[test]
fn photo_is_decoded_by_libavcodec_where_it_is_there() {
    let expected = if cfg!(feature = "libavcodec") {
        [0, 1]
    } else {
        [1, 0]
    };

    assert_eq!(upload_of_a_photo("auto"), expected);
}

#[cfg(feature = "libavcodec")]
#[test]
fn photo_is_decoded_by_libavcodec_where_it_is_chosen() {
    assert_eq!(upload_of_a_photo("libavcodec"), [0, 1]);
}

#[cfg(not(feature = "libavcodec"))]
#[test]
fn libavcodec_that_is_not_built_in_cannot_be_chosen() {
    let home = crate::support::Setup::new()
        .set("picture.hevc_decoder", "\"libavcodec\"")
        .home();

    let told = ["picture.hevc_decoder", "--features libavcodec", "auto"];
    crate::support::process::assert_failed(&home.run(&["serve"]), &told);
}
