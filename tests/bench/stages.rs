//! What each stage of an upload costs: decode, resize, colours, encode, the whole renderer, the commit to the disk, and
//! the check of a token. `cargo bench --bench stages` shows all, `cargo bench --bench stages -- decode` one.
//!
//! Photos are made here, the same every time, and real ones are added where the folder `../shared/photos` is beside the
//! repository. What is on them changes the times of decoders little, how finely they are coded much.

#![allow(
    missing_docs,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::expect_used,
    reason = "a measurement that cannot be made has to stop; the macros of divan write the rest"
)]

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::BytesCount;
use pockitd::auth::token::Kind;
use pockitd::auth::token::Tokens;
use pockitd::config;
use pockitd::domain::Timestamp;
use pockitd::domain::picture::Picture;
use pockitd::domain::picture::PictureId;
use pockitd::domain::picture::Rendition;
use pockitd::domain::user::Account;
use pockitd::domain::user::UserId;
use pockitd::imaging::Renderer;
use pockitd::imaging::Stages;
use pockitd::storage;
use turbojpeg::PixelFormat;
use turbojpeg::Subsamp;

fn main() {
    divan::main();
}

struct Photo {
    name: String,
    file: Vec<u8>,
}

impl fmt::Display for Photo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

static PHOTOS: LazyLock<Vec<Photo>> = LazyLock::new(|| {
    let sizes = [
        ("made 12 MP 4:2:0", 4_032, 3_024, Subsamp::Sub2x2),
        ("made 12 MP 4:4:4", 4_032, 3_024, Subsamp::None),
        ("made 1 MP 4:2:0", 1_152, 864, Subsamp::Sub2x2),
    ];
    let mut photos: Vec<_> = sizes
        .map(|(name, width, height, subsamp)| Photo {
            name: name.to_owned(),
            file: made(width, height, subsamp),
        })
        .into();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let real = fs::read_dir(root.join("../shared/photos"));
    let mut files: Vec<_> = real
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.extension().is_some_and(|ending| ending != "md"))
        .collect();
    // Without them there is a HEIC file at least.
    if files.is_empty() {
        files.push(root.join("tests/fixtures/grid.heic"));
    }
    files.sort();
    photos.extend(files.iter().map(|file| Photo {
        name: file.file_name().unwrap_or_default().display().to_string(),
        file: fs::read(file).expect("a photo that can be read"),
    }));
    photos
});

/// Waves of falling height, an edge, and grain: as finely coded as a photo.
fn made(width: usize, height: usize, subsamp: Subsamp) -> Vec<u8> {
    let mut grain = 1_u32;
    let mut pixels = Vec::with_capacity(width.saturating_mul(height).saturating_mul(3));
    for y in 0..height {
        for x in 0..width {
            let (across, down) = (x as f32, y as f32);
            let waves = 50.0 * (across / 410.0).sin() * (down / 290.0).cos()
                + 22.0 * ((across + down) / 61.0).sin()
                + 9.0 * ((across - 2.0 * down) / 13.0).sin();
            let edge = if x > y { 24.0 } else { 0.0 };
            grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (grain >> 24) as f32 / 40.0;
            let value = 100.0 + waves + edge + noise;
            pixels.extend([value, value * 0.9, value * 0.7 + 20.0].map(|value| value as u8));
        }
    }
    let image = turbojpeg::Image {
        pixels: pixels.as_slice(),
        width,
        pitch: width.saturating_mul(3),
        height,
        format: PixelFormat::RGB,
    };
    let file = turbojpeg::compress(image, 92, subsamp);
    file.expect("a JPEG file").to_vec()
}

fn photos() -> impl Iterator<Item = &'static Photo> {
    PHOTOS.iter()
}

fn stages() -> Stages {
    Stages::new(config::Picture::default())
}

#[divan::bench(args = photos())]
fn decode(bencher: Bencher<'_, '_>, photo: &Photo) {
    let mut stages = stages();
    bencher
        .counter(BytesCount::of_slice(&photo.file))
        .bench_local(|| stages.decode(&photo.file).expect("a picture"));
}

#[divan::bench(args = photos())]
fn resize(bencher: Bencher<'_, '_>, photo: &Photo) {
    let mut stages = stages();
    let decoded = stages.decode(&photo.file).expect("a picture");
    bencher.bench_local(|| stages.resize(&decoded).expect("a picture"));
}

#[divan::bench(args = photos())]
fn convert(bencher: Bencher<'_, '_>, photo: &Photo) {
    let mut stages = stages();
    let decoded = stages.decode(&photo.file).expect("a picture");
    let resized = stages.resize(&decoded).expect("a picture");
    bencher
        .with_inputs(|| resized.clone())
        .bench_local_values(|resized| stages.convert(&decoded, resized));
}

#[divan::bench(args = photos())]
fn encode(bencher: Bencher<'_, '_>, photo: &Photo) {
    let mut stages = stages();
    let mut renderer = Renderer::new(config::Picture::default());
    let picture = renderer.unencoded(&photo.file).expect("a picture");
    bencher.bench_local(|| stages.encode(&picture).expect("a file"));
}

/// Both renditions and the hash, as a worker makes them.
#[divan::bench(args = photos())]
fn whole(bencher: Bencher<'_, '_>, photo: &Photo) {
    let mut renderer = Renderer::new(config::Picture::default());
    bencher
        .counter(BytesCount::of_slice(&photo.file))
        .bench_local(|| renderer.render(&photo.file, None).expect("a picture"));
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn user() -> UserId {
    "bench".parse().expect("an id")
}

/// A picture as uploads make it: 50 KB and a thumbnail of 6 KB.
fn picture(nth: u64) -> (Picture, Vec<Rendition>) {
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(nth.to_be_bytes()) {
        *to = from;
    }
    let renditions = [(512, 50_000), (128, 6_000)].map(|(size_px, length)| Rendition {
        size_px,
        bytes: vec![0xA5; length].into(),
    });
    let picture = Picture {
        id: PictureId::from_random(id),
        width: 512,
        height: 512,
        sizes_px: vec![512, 128],
        thumbhash: vec![0; 25],
        applied: vec![],
        uploaded_at: at(1),
    };
    (picture, renditions.into())
}

/// One user's picture replaced by the next one, until the disk has it. The folder for temporary files should be on the
/// disk in question: `TMPDIR=/var/lib cargo bench --bench stages -- commit`.
#[divan::bench]
fn commit(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let config = config::Storage {
        data_dir: folder.path().join("data"),
        ..config::Storage::default()
    };
    let store = runtime.block_on(storage::open(&config)).expect("a store");
    let account = Account {
        user_id: user(),
        email: Some("bench@example.org".parse().expect("an address")),
        password_hash: None,
        created_at: at(1),
    };
    let name = "Bench".parse().expect("a name");
    runtime
        .block_on(store.create_user(account, name))
        .expect("a user");
    let mut nth = 0_u64;
    bencher
        .with_inputs(|| {
            nth = nth.wrapping_add(1);
            picture(nth)
        })
        .bench_local_values(|(picture, renditions)| {
            runtime
                .block_on(store.replace_picture(&user(), picture, renditions))
                .expect("a commit")
        });
    runtime.block_on(store.close()).expect("a closed store");
}

#[divan::bench]
fn token_check(bencher: Bencher<'_, '_>) {
    let secret = "djH2-0x8s!kd92mmc0=w83hd&ns82hs0".to_owned().into();
    let tokens = Tokens::new(&secret, 0).expect("a secret that is long enough");
    let token = tokens.issue(&user(), Kind::Access, at(0), 3_600);
    let token = token.expect("a token");
    bencher.bench(|| tokens.verify(&token, Kind::Access, at(1)).expect("a user"));
}
