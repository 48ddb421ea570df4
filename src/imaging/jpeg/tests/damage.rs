//! Hostile and damaged files: no panic, no endless loop, and never a picture from data that is cut off.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that miscounts fails"
)]

use std::time::Duration;
use std::time::Instant;

use proptest::prelude::ProptestConfig;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::proptest;
use turbojpeg::raw;

use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::jpeg::Header;
use crate::imaging::jpeg::Scaled;
use crate::imaging::jpeg::tests::samples::Recipe;
use crate::imaging::jpeg::tests::samples::decode;
use crate::imaging::jpeg::tests::samples::recipe;
use crate::imaging::jpeg::tests::samples::request;

/// Mutations of each file in [`mutated_files_do_not_panic`]. More are run by hand: see the environment variable there.
const MUTATIONS: u32 = 400;

fn small(progressive: bool, subsamp: i32) -> Recipe {
    Recipe {
        width: 67,
        height: 45,
        subsamp,
        quality: 80,
        progressive,
        optimized: progressive,
        restart_interval: 3,
        seed: 5,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn file_cut_off_is_declined(recipe in recipe(100), at in any::<proptest::sample::Index>()) {
        let file = recipe.file();
        let whole = Region::whole(Size {
            width: u32::from(recipe.width),
            height: u32::from(recipe.height),
        });

        let cut = &file[..at.index(file.len())];

        if Header::read(cut).is_ok() {
            prop_assert!(decode(cut, &request(whole, 10)).is_err());
        }
    }
}

/// Changes, removes and repeats bytes of small files, and decodes them at every scale.
///
/// `JPEG_MUTATIONS=100000 cargo test --release --lib mutated -- --nocapture` runs so many a file.
#[test]
#[expect(
    clippy::print_stdout,
    reason = "how much was tried, for those who run more by hand"
)]
fn mutated_files_do_not_panic() {
    let count = std::env::var("JPEG_MUTATIONS").ok();
    let count = count.map_or(MUTATIONS, |count| count.parse().unwrap());
    let subsamps = [
        raw::TJSAMP_TJSAMP_444,
        raw::TJSAMP_TJSAMP_420,
        raw::TJSAMP_TJSAMP_GRAY,
    ];
    let recipes = [false, true].map(|progressive| subsamps.map(|one| small(progressive, one)));
    let mut random = Random(1);
    let mut decoder = Scaled::default();
    let (mut tried, mut shown, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    for file in recipes.iter().flatten().map(Recipe::file) {
        for _ in 0..count {
            tried += 1;
            let mutated = mutated(&file, &mut random);
            let Ok(header) = Header::read(&mutated) else {
                continue;
            };
            if header.size.pixels() > 1_000_000 {
                continue;
            }
            let side = [1, 10, 20, 60][random.below(4)];
            let request = request(Region::whole(header.size), side);
            let begun = Instant::now();
            shown += u64::from(decoder.decode(&mutated, &header, &request).is_ok());
            slowest = slowest.max(begun.elapsed());
        }
    }
    println!("{tried} mutations, {shown} decoded, the slowest in {slowest:?}");
}

/// Numbers that look random and are the same every time. Source: Marsaglia, "Xorshift RNGs", 2003.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((self.0 >> 20) % limit).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// A copy of a file with one to four changes.
fn mutated(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut copy = file.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(copy.len());
        match random.below(5) {
            0 => copy[at] ^= 1 << random.below(8),
            1 => copy[at] = random.byte(),
            2 => copy[at] = [0, 0xFF, 0x7F, 0x80][random.below(4)],
            3 => {
                copy.remove(at);
            }
            _ => {
                let end = (at + random.below(40)).min(copy.len());
                let piece = copy[at..end].to_vec();
                let to = random.below(copy.len());
                copy.splice(to..to, piece);
            }
        }
    }
    copy
}
