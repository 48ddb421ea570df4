//! The two decoders of HEVC against each other: the same planes, byte for byte, and the same refusals of damage.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::config::HevcDecoder;
use crate::imaging::Decoder;
use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::heif::Source;
use crate::imaging::heif::handle::Part;
use crate::imaging::heif::hevc::Codec;
use crate::imaging::heif::hevc::codecs;
use crate::imaging::heif::picture::Channel;
use crate::imaging::heif::picture::Picture;
use crate::imaging::raster::Request;

const PIXELS_MAX: u64 = 64_000_000;

/// Our own HEIC files, and others' where their folders are.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "tests/fixtures",
        "../shared/photos",
        "../shared/corpus/heic",
    ];
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(root.join(folder)).ok())
        .flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "heic")
        })
        .collect();
    files.sort();
    files
}

/// Everything that a picture holds: the planes' samples, their depth, and the code points.
fn contents(picture: &Picture) -> impl PartialEq + std::fmt::Debug {
    let channels = [Channel::Y, Channel::Cb, Channel::Cr, Channel::Alpha];
    let planes = channels.map(|channel| {
        picture.plane(channel).map(|plane| {
            let rows = (0..plane.height).map(|y| plane.row(y).to_vec());
            (plane.width, plane.bits, rows.collect::<Vec<_>>())
        })
    });
    (planes, picture.code_points())
}

/// Every tile of a file, or why there is none.
fn tiles(source: &Source<'_>, codec: Codec) -> Vec<Option<Picture>> {
    let tiling = source.tiling;
    if !tiling.is_grid() || source.handle.has_alpha() {
        return vec![source.handle.decode(codec, source.all()).ok()];
    }
    let places = (0..tiling.rows).flat_map(|y| (0..tiling.columns).map(move |x| Part::Tile(x, y)));
    places
        .map(|place| source.handle.decode(codec, place).ok())
        .collect()
}

#[test]
fn decoders_deliver_the_same_planes() {
    let mut compared = 0;
    for file in files() {
        let bytes = fs::read(&file).unwrap();
        let Ok(source) = Source::open(&bytes, PIXELS_MAX) else {
            continue;
        };
        let one = tiles(&source, Codec::Libde265);
        let other = tiles(&source, Codec::Libavcodec);
        for (nth, (one, other)) in one.iter().zip(&other).enumerate() {
            let place = format!("tile {nth} of {}", file.display());
            // Where the older decoder tells nothing is wrong, the other one may be stricter with what is damaged.
            let (Some(one), Some(other)) = (one, other) else {
                assert!(other.is_none(), "only libavcodec decodes {place}");
                let name = file.file_stem().unwrap().to_string_lossy();
                let damaged = ["corrupt", "truncated"];
                assert!(
                    one.is_none() || damaged.iter().any(|word| name.contains(word)),
                    "only libde265 decodes {place}"
                );
                continue;
            };
            assert!(contents(one) == contents(other), "{place} differs");
            compared += 1;
        }
    }
    // Among our own files alone there are these: grids, turned and cut, 10 bits, 4:2:2, 4:4:4, monochrome, alpha.
    assert!(compared >= 28, "only {compared} pictures were compared");
}

/// The request that shows all of a file as a thumbnail.
fn thumbnail(source: &Source<'_>) -> Request {
    Request {
        source: Region::whole(source.size()),
        target: Size::square(16),
    }
}

#[test]
fn choice_decides_who_decodes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/grid.heic");
    let bytes = fs::read(file).unwrap();
    for (choice, expected) in [
        (HevcDecoder::Auto, Decoder::Libavcodec),
        (HevcDecoder::Libavcodec, Decoder::Libavcodec),
        (HevcDecoder::Libde265, Decoder::Libde265),
    ] {
        let source = Source::open(&bytes, PIXELS_MAX).unwrap();
        let request = thumbnail(&source);

        let (_, decoder) = source.decode(&request, choice).unwrap();

        assert_eq!(decoder, expected);
    }
}

/// Every bit of a small photo's coded data is changed once, and every length cut: no crash, and no picture from a part.
#[test]
fn damaged_data_is_refused_or_decoded() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/single.heic");
    let bytes = fs::read(file).unwrap();
    let mdat = bytes.windows(4).position(|four| four == b"mdat").unwrap() + 4;
    for at in mdat..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(source) = Source::open(&damaged, PIXELS_MAX) {
            let request = thumbnail(&source);
            drop(source.decode(&request, HevcDecoder::Libavcodec));
        }
        if let Ok(source) = Source::open(&bytes[..at], PIXELS_MAX) {
            let request = thumbnail(&source);
            let decoded = source.decode(&request, HevcDecoder::Libavcodec);
            assert!(decoded.is_err(), "decoded {at} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn damage_is_refused_though_another_decoder_might_not_notice() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/single.heic");
    let bytes = fs::read(file).unwrap();
    let mdat = bytes.windows(4).position(|four| four == b"mdat").unwrap() + 4;
    let mut refused = 0;
    for at in mdat..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let is_decoded = |choice| {
            let source = Source::open(&damaged, PIXELS_MAX).unwrap();
            let request = thumbnail(&source);
            source.decode(&request, choice).is_ok()
        };

        let alone = is_decoded(HevcDecoder::Libavcodec);

        assert_eq!(is_decoded(HevcDecoder::Auto), alone, "byte {at}");
        refused += usize::from(!alone);
    }
    assert!(refused > 0);
}

#[test]
fn samples_that_libavcodec_does_not_have_are_left_to_libde265() {
    let both = [Codec::Libavcodec, Codec::Libde265];
    for bits in [8, 9, 10, 12] {
        assert_eq!(codecs(HevcDecoder::Auto, (bits, bits)), both, "{bits} bits");
    }
    for bits in [(11, 11), (16, 16), (8, 10), (-1, -1)] {
        let told = codecs(HevcDecoder::Auto, bits);
        assert_eq!(told, [Codec::Libde265], "{bits:?} bits");
    }
}
