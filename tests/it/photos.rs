//! Real photos of phones, where the folder with them is present: upright, square, in the right colours, and without a
//! word about where they were taken.

use std::path::PathBuf;

use crate::support::Server;
use crate::support::fixtures::{colors, read, repository};
use crate::support::jpeg::{Pixels, assert_clean, assert_colors};

/// Largest difference of a channel, on means of 1/36 of a picture. A turned picture is off by 16 at least.
const TOLERANCE: u8 = 7;

/// Mean colours of the centred square, six by six, as Pillow, pillow-heif and `LittleCMS` (relative colorimetric) see it.
const PHOTOS: [(&str, [&str; 6]); 9] = [
    (
        "iphone13pro-12mp-p3-gps.heic",
        [
            "dad8d0dddbd5dbdad5dcdcd8dadad7d7d8d5",
            "c6c3bac8c2bac7c2bbc6c3bec3c0bcc0beb9",
            "bfb9b0c3bbb0c2bab0b8b3acbeb8b2bbb5af",
            "beb5abb9b0a5746b693b3c3fb3aca4bbb3ac",
            "afa69c867f79433e3f53524faaa59e9b938a",
            "8b89886b6a694a49465a564e5c584f4d463a",
        ],
    ),
    (
        "iphone8plus-12mp-rotated.heic",
        [
            "a59f99a6a19b9a95909a9590afa8a0b4aba3",
            "a7a29d98948fa8a49fa9a5a09d9994b2ada8",
            "94918f9796929b9a969a99949d9a96a4a09d",
            "a5a09ea2a19f949491999895a6a3a0aea9a6",
            "a5a09e9e9b9992918f9a97959b9795afaaa6",
            "a49f9ba6a19fa8a3a1a9a4a2ada7a4b0a9a3",
        ],
    ),
    (
        "landscape-6mp-420.jpg",
        [
            "70625f3a2719a6624749372e2924232c2727",
            "82472f7a52418c594251362c2d2b2c3e332f",
            "4a352a6a4f3fb59480493833564944614c41",
            "41332c826755906c556f5344684a3c5d4b40",
            "4f3c30775943a77549b17a4b4a392c735c3e",
            "745a4a86695782634f7b583f6749366e5039",
        ],
    ),
    (
        "phone-12mp-444-p3-gps.jpg",
        [
            "dad8d0dddbd5dbdad5dcdcd8dadad7d7d8d5",
            "c6c3bac8c2bac7c2bbc6c3bec3c0bcc0beb9",
            "bfb9b0c3bbb0c2bab0b8b3acbeb8b2bbb5af",
            "beb5abb9b0a5746b6a3c3c3fb3aca4bbb3ac",
            "afa69c867f79433e3f53524faaa59e9b938a",
            "8b89886b6a694a49465a564e5c584f4d463a",
        ],
    ),
    (
        "phone-12mp-portrait-420.jpg",
        [
            "a59f99a7a19b9a95909a9590afa8a0b4aba3",
            "a7a29d98948fa8a49fa9a5a09d9994b2ada8",
            "94918e9796929b9a969a99949d9a96a4a09d",
            "a5a09ea2a19f949491999895a6a3a0aea9a6",
            "a5a09e9e9b9992918f9a97959b9795afaaa6",
            "a49f9ba6a19fa8a3a1a9a4a2ada7a4b0a9a3",
        ],
    ),
    (
        "phone-12mp-progressive.jpg",
        [
            "dad8d0dddbd5dbdad5dcdcd8dadad7d7d8d5",
            "c6c3bac8c2bac7c2bbc6c3bec3c0bcc0beb9",
            "bfb9b0c3bbb0c2bab0b8b3acbeb8b2bbb5af",
            "beb5abb9b0a5746b6a3c3c3fb3aca4bbb3ac",
            "afa69c867f79433e3f53524faaa59e9b938a",
            "8b89886b6a694a49465a564e5c584f4d463a",
        ],
    ),
    (
        "photo-1600.png",
        [
            "dad8d0dddbd5dbdad5dcdcd8dadad7d7d7d5",
            "c6c3bac7c2b9c7c2bbc6c3bec2c0bcc0beb9",
            "bfb9b0c3bbb0c2bab0b8b3acbeb8b2bbb5af",
            "beb5abb9b0a5746b693b3c3fb3aca4bbb3ac",
            "afa69c867f79433e3f53514faaa59e9b938a",
            "8b89886b6a694a49455a564e5c584f4d463a",
        ],
    ),
    (
        "visionpro-2560.heic",
        [
            "83847c968b7c8f7f72cdc7bbbab6ae433f3b",
            "77776b928b7d897c71a9a79a938d845d5853",
            "4c4c3b434237636454636654948d848a837b",
            "5c5a576a6763727169666f518f8f7e908b84",
            "938e89979391725f5e624f4d908a868a837c",
            "9a97979d99986a5f5f55484a8a84818b847f",
        ],
    ),
    (
        "xiaomi-5mp.heic",
        [
            "757e82606a6ea5b2b8d8e5e9d2dee3d9e3e5",
            "616b6e636e747a8996d1dfe6d1dfe4d2dfe5",
            "95a4aa5e696e48525cadb9bfd2dee2d3dfe4",
            "d1dee285959c69757b9aa4abcfdce2d6e2e5",
            "d4e0e2cfdde1a3b3bac5d3d8d9e3e4d3e0e6",
            "c8d6dbcedadccddbdfcfdde1cfdce2dde6e7",
        ],
    ),
];

/// The folder beside the repository; none where the photos are not.
fn folder() -> Option<PathBuf> {
    let folder = repository().join("../shared/photos");
    let present = folder.is_dir();
    if !present {
        println!("skipped: {} is not there", folder.display());
    }
    present.then_some(folder)
}

#[test]
fn every_photo_becomes_a_clean_upright_square() {
    let Some(folder) = folder() else { return };
    let server = Server::start();
    let user = server.user();
    for (name, rows) in PHOTOS {
        let photo = read(&folder.join(name));
        let start = std::time::Instant::now();

        let profile = server.upload(&user, &photo).expect(200).json();

        println!("{name}: {:?}", start.elapsed());
        let expected = colors(&rows.concat());
        let (large, small) = server.pictures(&profile);
        for (bytes, side) in [(large, 512), (small, 128)] {
            let what = format!("{name} at {side}");
            assert_clean(&bytes, &what);
            let picture = Pixels::decode(&bytes);
            assert_eq!((picture.width, picture.height), (side, side), "{what}");
            assert_colors(&picture.grid(6), &expected, TOLERANCE, &what);
        }
    }
}

#[test]
fn every_photo_in_the_folder_is_in_the_table() {
    let Some(folder) = folder() else { return };
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let unknown: Vec<_> = names
        .filter(|name| name != "README.md" && PHOTOS.iter().all(|(photo, _)| photo != name))
        .collect();

    assert!(unknown.is_empty(), "without stored colours: {unknown:?}");
}
