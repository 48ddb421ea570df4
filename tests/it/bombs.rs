//! Small files that promise much work: each costs its sender one refusal, or a time that is bounded, and others nothing.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::{children, status};
use crate::support::{DEADLINE, Form, NOT_AN_IMAGE, PICTURE, Request, Server, fixture};

/// A marker segment of a JPEG.
fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
    [&[0xFF, marker], &length[..], data].concat()
}

/// A good progressive JPEG, grey, of 64 by 64 pixels: one scan for the averages, then for each of so many coefficients one
/// a bit, the highest first, as the standard allows.
fn of_scans(coefficients: u8) -> Vec<u8> {
    let table = |class: u8, symbol: u8| {
        // One code, of one bit.
        let mut data = vec![class << 4, 1];
        data.extend([0; 15]);
        data.push(symbol);
        segment(0xC4, &data)
    };
    let scan = |first: u8, last: u8, bits: u8, data: &[u8]| {
        [&segment(0xDA, &[1, 1, 0, first, last, bits])[..], data].concat()
    };
    let mut quantization = vec![0];
    quantization.extend([1; 64]);
    let mut file = vec![0xFF, 0xD8];
    file.extend(segment(0xDB, &quantization));
    file.extend(segment(0xC2, &[8, 0, 64, 0, 64, 1, 1, 0x11, 0]));
    file.extend(table(0, 0));
    // The end of 64 blocks.
    file.extend(table(1, 0x60));
    file.extend(scan(0, 0, 0, &[0; 8]));
    for coefficient in 1..=coefficients {
        for bit in (0..14).rev() {
            let above = if bit == 13 { 0 } else { bit + 1 };
            file.extend(scan(
                coefficient,
                coefficient,
                above << 4 | bit,
                &[0b0000_0001],
            ));
        }
    }
    file.extend([0xFF, 0xD9]);
    file
}

#[test]
fn jpeg_of_more_scans_than_encoders_write_is_refused_for_them() {
    let server = Server::start();
    let user = server.user();

    server.upload(&user, &of_scans(7)).expect(200);
    for coefficients in [8, 63] {
        let reply = server.upload(&user, &of_scans(coefficients));
        assert_eq!(reply.told(), (400, NOT_AN_IMAGE.to_owned()));
    }

    assert!(
        server.log().contains("more than 100 scans"),
        "{}",
        server.log()
    );
}

/// 9 megapixels of 64 bits, all the same: a small file that takes far longer than 50 ms.
fn slow_png() -> Vec<u8> {
    let side = 3_000;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    let mut rows = writer.stream_writer().unwrap();
    let row = vec![0xFF; 8 * side as usize];
    for _ in 0..side {
        rows.write_all(&row).unwrap();
    }
    rows.finish().unwrap();
    writer.finish().unwrap();
    file
}

#[test]
fn slow_pictures_of_several_users_leave_the_workers_to_others() {
    let server = Server::with(&[
        ("workers.count", "1"),
        ("workers.deadline_ms", "120_000"),
        ("workers.slow_ms", "50"),
        ("rate_limit.uploads_per_hour", "0"),
    ]);
    let slow = slow_png();
    let hogs = [server.user(), server.user()];
    let user = server.user();
    // Nobody knows before their first.
    for hog in &hogs {
        server.upload(hog, &slow).expect(200);
    }
    let address = server.address();
    let form = Form::image(&slow);
    let requests = hogs.map(|hog| Request::post(PICTURE).bearer(&hog.access).form(&form));
    thread::scope(|scope| {
        let uploads = requests.each_ref();
        let uploads = uploads.map(|upload| scope.spawn(move || upload.send(address).expect(200)));
        let begun = Instant::now();
        let works = |id: &i32| status(*id).contains("State:\tR");
        while !children(server.process_id()).iter().any(works) {
            assert!(begun.elapsed() < DEADLINE, "no worker is at work");
            thread::sleep(Duration::from_millis(1));
        }

        server.upload(&user, &fixture("rgb.png")).expect(200);

        let is_over = uploads.iter().all(thread::ScopedJoinHandle::is_finished);
        assert!(!is_over, "it waited for the others");
    });
}
