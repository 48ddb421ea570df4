//! A HEIC photo of 12 megapixels, as a phone stores one that was taken upright: 48 tiles of HEVC joined by a `grid` item,
//! Display P3, a rotation in `irot` and the same in EXIF.
//!
//! The program has no HEVC encoder, so the tiles are ready ones (`tests/fixtures/make-tiles.py` makes them), and the seed
//! chooses which of them lies where. Decoders have the same work as with 48 different ones: each is coded by itself.

use std::ops::Range;

use crate::cli::Failure;
use crate::cli::bench_upload::photos::scrambled;

/// Width and height, in pixels, as stored: on its side.
pub(super) const SIZE: (u16, u16) = (4_032, 3_024);
/// Colour profile, decoder configuration, then the tiles, each behind its length in four bytes.
const PIECES: &[u8] = include_bytes!("tiles.bin");
/// Side of a tile, in pixels.
const TILE_PX: u16 = 512;
const COLUMNS: u8 = 8;
const ROWS: u8 = 6;
/// Rows that show the sky; below them is one with the horizon.
const ROWS_OF_SKY: u8 = 2;
/// Tiles that show the sky, the horizon and the ground.
const KINDS: [Range<usize>; 3] = [0..3, 3..5, 5..9];
/// EXIF with one tag, orientation 6, behind where in the item it begins: in a HEIC it is told, but `irot` is what counts.
const EXIF: &[u8] = b"\0\0\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
/// Of an association: whoever does not know the property must not show the picture.
const ESSENTIAL: u8 = 0x80;

/// Something in the file that has an id: its place in a list, from 1.
struct Item<'a> {
    kind: &'static [u8; 4],
    data: &'a [u8],
    /// Numbers of its properties, from 1, in the order in which they apply.
    properties: &'static [u8],
    is_hidden: bool,
}

/// The photo of this seed.
pub(super) fn file(seed: u64) -> Result<Vec<u8>, Failure> {
    let pieces = pieces();
    let [profile, configuration, tiles @ ..] = pieces.as_slice() else {
        return Err("the tiles for HEIC are not whole".into());
    };
    let mut items = Vec::new();
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            items.push(Item {
                kind: b"hvc1",
                data: chosen(tiles, seed, column, row).ok_or("a tile for HEIC is missing")?,
                properties: &[ESSENTIAL | 1, 2, 4],
                is_hidden: true,
            });
        }
    }
    let tiles = 1..=number(items.len());
    let grid = [
        &[0, 0, ROWS.saturating_sub(1), COLUMNS.saturating_sub(1)],
        SIZE.0.to_be_bytes().as_slice(),
        SIZE.1.to_be_bytes().as_slice(),
    ]
    .concat();
    items.push(Item {
        kind: b"grid",
        data: &grid,
        properties: &[3, 4, 5, ESSENTIAL | 6],
        is_hidden: false,
    });
    let picture = number(items.len());
    items.push(Item {
        kind: b"Exif",
        data: EXIF,
        properties: &[],
        is_hidden: true,
    });
    let exif = number(items.len());
    let properties = [
        boxed(*b"hvcC", &[configuration]),
        extent(TILE_PX, TILE_PX),
        extent(SIZE.0, SIZE.1),
        boxed(*b"colr", &[b"prof", profile]),
        full(*b"pixi", 0, &[&[3, 8, 8, 8]]),
        // Three quarter turns to the left: one to the right.
        boxed(*b"irot", &[&[3]]),
    ]
    .concat();
    let references = [
        reference(*b"dimg", picture, &tiles.collect::<Vec<_>>()),
        reference(*b"cdsc", exif, &[picture]),
    ]
    .concat();
    let head = boxed(*b"ftyp", &[b"heic\0\0\0\0", b"mif1MiHEmiafMiHBheic"]);
    let meta = |first| meta(&items, picture, &properties, &references, first);
    // Its length does not depend on where the data is.
    let before_data = head.len().saturating_add(meta(0).len()).saturating_add(8);
    let data: Vec<_> = items.iter().map(|item| item.data).collect();
    Ok([head, meta(before_data), boxed(*b"mdat", &data)].concat())
}

/// A tile for a place.
fn chosen<'a>(tiles: &[&'a [u8]], seed: u64, column: u8, row: u8) -> Option<&'a [u8]> {
    let [sky, horizon, ground] = KINDS;
    let kind = match row.cmp(&ROWS_OF_SKY) {
        std::cmp::Ordering::Less => sky,
        std::cmp::Ordering::Equal => horizon,
        std::cmp::Ordering::Greater => ground,
    };
    let among = tiles.get(kind)?;
    let count = u64::try_from(among.len()).ok()?;
    let index = scrambled(seed, column.into(), row.into()).checked_rem(count)?;
    among.get(usize::try_from(index).ok()?).copied()
}

fn pieces() -> Vec<&'static [u8]> {
    let mut pieces = Vec::new();
    let mut rest = PIECES;
    while let Some((length, more)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((piece, after)) = more.split_at_checked(length) else {
            break;
        };
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// What is where. Source of all boxes: ISO/IEC 14496-12, 8.11, and 23008-12, 6 and 9.
fn meta(
    items: &[Item<'_>],
    primary: u16,
    properties: &[u8],
    references: &[u8],
    first: usize,
) -> Vec<u8> {
    let count = number(items.len()).to_be_bytes();
    let mut places = Vec::new();
    let mut infos = Vec::new();
    let mut associations = Vec::new();
    let mut at = first;
    for (id, item) in (1_u16..).zip(items) {
        let id = id.to_be_bytes();
        // Data reference 0, one extent.
        places.extend([id, [0, 0], [0, 1]].concat());
        places.extend(length(at).to_be_bytes());
        places.extend(length(item.data.len()).to_be_bytes());
        at = at.saturating_add(item.data.len());
        let info = [&id, [0, 0].as_slice(), item.kind, &[0]];
        let hidden = u8::from(item.is_hidden);
        infos.extend(boxed(*b"infe", &[&[2, 0, 0, hidden], &info.concat()]));
        let properties = u8::try_from(item.properties.len()).unwrap_or(u8::MAX);
        associations.extend([&id, [properties].as_slice(), item.properties].concat());
    }
    let associated = u32::from(number(items.len())).to_be_bytes();
    full(
        *b"meta",
        0,
        &[
            &full(*b"hdlr", 0, &[&[0; 4], b"pict", &[0; 13]]),
            &full(*b"pitm", 0, &[&primary.to_be_bytes()]),
            // Four bytes for a place, four for a length.
            &full(*b"iloc", 0, &[&[0x44, 0], &count, &places]),
            &full(*b"iinf", 0, &[&count, &infos]),
            &full(*b"iref", 0, &[references]),
            &boxed(
                *b"iprp",
                &[
                    &boxed(*b"ipco", &[properties]),
                    &full(*b"ipma", 0, &[&associated, &associations]),
                ],
            ),
        ],
    )
}

fn extent(width: u16, height: u16) -> Vec<u8> {
    let [width, height] = [width, height].map(|side| u32::from(side).to_be_bytes());
    full(*b"ispe", 0, &[&width, &height])
}

fn reference(kind: [u8; 4], from: u16, to: &[u16]) -> Vec<u8> {
    let to: Vec<_> = [from, number(to.len())]
        .iter()
        .chain(to)
        .flat_map(|number| number.to_be_bytes())
        .collect();
    boxed(kind, &[&to])
}

fn full(kind: [u8; 4], version: u8, parts: &[&[u8]]) -> Vec<u8> {
    boxed(kind, &[&[version, 0, 0, 0], &parts.concat()])
}

fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    let whole = length(payload.len()).saturating_add(8);
    [whole.to_be_bytes().as_slice(), &kind, &payload].concat()
}

/// A count or an id. There are a few dozen of each.
fn number(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// In bytes. A photo has a few million.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::domain::picture::Applied;
    use crate::domain::picture::Format;
    use crate::imaging::Renderer;

    #[test]
    fn pieces_are_whole_and_as_many_as_there_are_kinds() {
        let pieces = pieces();
        let read: usize = pieces.iter().map(|piece| piece.len() + 4).sum();
        assert_eq!(read, PIECES.len());
        assert_eq!(pieces.len(), KINDS.last().unwrap().end + 2);
    }

    #[test]
    fn photo_is_the_same_for_a_seed_and_another_for_another() {
        assert_eq!(file(1).unwrap(), file(1).unwrap());
        assert_ne!(file(1).unwrap(), file(2).unwrap());
    }

    #[test]
    fn photo_is_read_as_one_of_a_phone() {
        let photo = file(1).unwrap();

        let rendered = Renderer::new(config::Picture::default())
            .render(&photo, None)
            .unwrap();

        assert_eq!(rendered.format, Format::Heic);
        let applied = [
            Applied::Rotated,
            Applied::Cropped,
            Applied::Srgb,
            Applied::MetadataRemoved,
        ];
        for step in applied {
            assert!(rendered.applied.contains(&step), "{:?}", rendered.applied);
        }
        assert!(!rendered.applied.contains(&Applied::Enlarged));
    }

    #[test]
    fn photo_shows_sky_on_the_right_of_the_stored_ground_turned_upright() {
        let limits = config::Picture {
            fit: crate::domain::picture::Fit::Inside,
            ..config::Picture::default()
        };

        let shown = Renderer::new(limits).unencoded(&file(3).unwrap()).unwrap();

        assert_eq!((shown.width, shown.height), (384, 512));
        // Stored, the sky is above; a quarter turn to the right brings it to the right.
        let row = usize::from(shown.height / 2) * usize::from(shown.width);
        let pixel = |x: usize| &shown.rgb[(row + x) * 3..(row + x) * 3 + 3];
        let (ground, sky) = (pixel(40), pixel(340));
        assert!(sky[2] > sky[0] + 30, "{sky:?}");
        assert!(ground[2] < ground[1], "{ground:?}");
    }
}
