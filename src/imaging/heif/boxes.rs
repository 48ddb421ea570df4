//! The boxes of a HEIF file, as far as needed to say what its primary image is before any C++ sees the file.
//!
//! Source: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (items). Box types are written as they are in the file.

use std::collections::BTreeSet;

use crate::domain::picture::Format;
use crate::imaging::Damage;
use crate::imaging::Error;
use crate::imaging::bytes::Bytes;

/// How far derived images (grids, overlays) may be nested.
const DERIVATIONS_MAX: u8 = 4;

type Kind = [u8; 4];

/// Finds out what the primary image is.
///
/// # Errors
///
/// [`Error::UnsupportedFormat`] for everything but images of HEVC, by name; [`Error::Malformed`] if it cannot be told.
pub(in crate::imaging) fn check_primary_image(file: &[u8]) -> Result<(), Error> {
    let brands = Brands::read(file).ok_or_else(|| damaged("no file type box"))?;
    let mut bytes = Bytes::new(file);
    let mut is_movie = false;
    while let Some((kind, body)) = next_box(&mut bytes) {
        match &kind {
            b"meta" => {
                if let Some(coding) = Items::read(body).primary_coding() {
                    return supported(coding);
                }
            }
            b"mini" => return Err(Error::UnsupportedFormat("low-overhead HEIF".into())),
            b"moov" => is_movie = true,
            _ => {}
        }
    }
    if let Some(name) = brands.name() {
        return Err(Error::UnsupportedFormat(name.into()));
    }
    Err(match is_movie {
        true if brands.is_heif() => Error::UnsupportedFormat("HEIF image sequence".into()),
        true => Error::UnsupportedFormat("video".into()),
        false if brands.is_heif() => damaged("no primary image"),
        false => Error::NotAnImage,
    })
}

/// The items that the primary image is derived from, directly or through others; each once.
pub(super) fn parts_of_primary_image(file: &[u8]) -> BTreeSet<u32> {
    let mut bytes = Bytes::new(file);
    let boxes = std::iter::from_fn(|| next_box(&mut bytes));
    let mut metas = boxes.filter(|(kind, _)| kind == b"meta");
    let items = metas.find_map(|(_, body)| {
        let items = Items::read(body);
        items.primary_coding().map(|_| items)
    });
    items.map_or_else(BTreeSet::new, |items| items.parts_of_primary())
}

fn supported(coding: Kind) -> Result<(), Error> {
    let name = match &coding {
        b"hvc1" | b"hev1" => return Ok(()),
        b"av01" => "AVIF",
        b"avc1" => "HEIF with H.264",
        b"vvc1" => "HEIF with H.266",
        b"evc1" => "HEIF with EVC",
        b"jpeg" => "HEIF with JPEG",
        b"j2k1" => "HEIF with JPEG 2000",
        b"unci" => "uncompressed HEIF",
        b"mski" => "HEIF with a mask",
        b"tili" => "tiled HEIF",
        b"Exif" | b"mime" | b"uri " => return Err(damaged("the primary item is no image")),
        _ => "HEIF with an unknown coding",
    };
    Err(Error::UnsupportedFormat(name.into()))
}

fn damaged(what: &'static str) -> Error {
    Error::Malformed(Format::Heic, Damage(what).into())
}

/// The next box: its type and what is in it.
fn next_box<'a>(bytes: &mut Bytes<'a>) -> Option<(Kind, &'a [u8])> {
    let size = bytes.u32()?;
    let kind = bytes.array()?;
    let body = match size {
        0 => bytes.rest().len(),
        1 => usize::try_from(bytes.u64()?).ok()?.checked_sub(16)?,
        _ => usize::try_from(size).ok()?.checked_sub(8)?,
    };
    Some((kind, bytes.take(body)?))
}

/// The brands of the file type box.
struct Brands<'a> {
    major: Kind,
    all: &'a [Kind],
}

impl<'a> Brands<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        let (kind, body) = next_box(&mut Bytes::new(file))?;
        let mut bytes = Bytes::new(body);
        let major = bytes.array()?;
        let _minor_version = bytes.u32()?;
        (&kind == b"ftyp").then_some(Self {
            major,
            all: bytes.rest().as_chunks().0,
        })
    }

    fn has(&self, brands: &[&Kind]) -> bool {
        brands
            .iter()
            .any(|brand| self.major == **brand || self.all.contains(brand))
    }

    fn is_heif(&self) -> bool {
        self.has(&[
            b"mif1", b"mif2", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim",
        ])
    }

    /// What files of other kinds are called.
    fn name(&self) -> Option<&'static str> {
        match &self.major {
            b"avif" | b"avis" => Some("AVIF"),
            b"crx " => Some("camera raw"),
            b"jp2 " | b"jpx " => Some("JPEG 2000"),
            b"M4A " => Some("audio"),
            b"qt  " => Some("video"),
            _ => None,
        }
    }
}

/// The items of a file and how they are derived from each other.
#[derive(Default)]
struct Items {
    primary: Option<u32>,
    codings: Vec<(u32, Kind)>,
    /// Which item is derived from which ones.
    derivations: Vec<(u32, Vec<u32>)>,
}

impl Items {
    fn read(meta: &[u8]) -> Self {
        let mut items = Self::default();
        let mut bytes = Bytes::new(meta.get(4..).unwrap_or_default());
        while let Some((kind, body)) = next_box(&mut bytes) {
            match &kind {
                b"pitm" => items.primary = primary(body),
                b"iinf" => items.codings = codings(body),
                b"iref" => items.derivations = derivations(body),
                _ => {}
            }
        }
        items
    }

    /// How the primary image is coded; for a derived one, how the first of its parts is.
    fn primary_coding(&self) -> Option<Kind> {
        let mut id = self.primary?;
        for _ in 0..DERIVATIONS_MAX {
            let (_, coding) = self.codings.iter().find(|(item, _)| *item == id)?;
            if !matches!(coding, b"grid" | b"iovl" | b"iden") {
                return Some(*coding);
            }
            let (_, parts) = self.derivations.iter().find(|(item, _)| *item == id)?;
            id = *parts.first()?;
        }
        None
    }

    /// Those that there are.
    fn parts_of_primary(&self) -> BTreeSet<u32> {
        let items: BTreeSet<u32> = self.codings.iter().map(|(item, _)| *item).collect();
        let mut derived: BTreeSet<u32> = self.primary.into_iter().collect();
        let mut all = BTreeSet::new();
        for _ in 0..DERIVATIONS_MAX {
            let parts = self
                .derivations
                .iter()
                .filter(|(item, _)| derived.contains(item))
                .flat_map(|(_, parts)| parts);
            derived = parts.copied().filter(|part| items.contains(part)).collect();
            all.extend(&derived);
        }
        all
    }
}

/// Version and body of a full box.
fn versioned(body: &[u8]) -> Option<(u8, Bytes<'_>)> {
    let mut bytes = Bytes::new(body);
    let [version, ..] = bytes.array::<4>()?;
    Some((version, bytes))
}

/// An item's id, which later versions of boxes write with 32 bits.
fn id(bytes: &mut Bytes<'_>, is_long: bool) -> Option<u32> {
    if is_long {
        bytes.u32()
    } else {
        bytes.u16().map(u32::from)
    }
}

fn primary(body: &[u8]) -> Option<u32> {
    let (version, mut bytes) = versioned(body)?;
    id(&mut bytes, version > 0)
}

fn codings(body: &[u8]) -> Vec<(u32, Kind)> {
    let Some((version, mut bytes)) = versioned(body) else {
        return Vec::new();
    };
    let _count = id(&mut bytes, version > 0);
    let entries = std::iter::from_fn(|| next_box(&mut bytes));
    entries
        .filter_map(|(_, entry)| {
            let (version, mut bytes) = versioned(entry)?;
            let id = id(&mut bytes, version > 2)?;
            let _protection = bytes.u16()?;
            Some((id, bytes.array()?))
        })
        .collect()
}

fn derivations(body: &[u8]) -> Vec<(u32, Vec<u32>)> {
    let Some((version, mut bytes)) = versioned(body) else {
        return Vec::new();
    };
    let references = std::iter::from_fn(|| next_box(&mut bytes));
    references
        .filter(|(kind, _)| kind == b"dimg")
        .filter_map(|(_, reference)| {
            let mut bytes = Bytes::new(reference);
            let derived = id(&mut bytes, version > 0)?;
            let count = usize::from(bytes.u16()?);
            let parts = std::iter::from_fn(|| id(&mut bytes, version > 0));
            Some((derived, parts.take(count).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &str, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len()).unwrap().strict_add(8);
        [&size.to_be_bytes(), kind.as_bytes(), body].concat()
    }

    fn item(id: u8, coding: &str) -> Vec<u8> {
        boxed(
            "infe",
            &[&[2, 0, 0, 0, 0, id, 0, 0], coding.as_bytes(), &[0]].concat(),
        )
    }

    /// A file whose item 1 is the primary one.
    fn file(brand: &str, items: &[Vec<u8>], iref: &[u8]) -> Vec<u8> {
        let count = [0, 0, 0, 0, 0, u8::try_from(items.len()).unwrap()];
        let meta = [
            vec![0; 4],
            boxed("pitm", &[0, 0, 0, 0, 0, 1]),
            boxed("iinf", &[&count[..], &items.concat()].concat()),
            iref.to_vec(),
        ];
        let ftyp = boxed("ftyp", &[brand.as_bytes(), &[0; 4], b"mif1"].concat());
        [ftyp, boxed("meta", &meta.concat())].concat()
    }

    fn refusal(file: &[u8]) -> String {
        match check_primary_image(file) {
            Err(Error::UnsupportedFormat(name)) => name.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn primary_image_of_hevc_or_a_grid_of_it_is_accepted() {
        let dimg = boxed("dimg", &[0, 1, 0, 2, 0, 2, 0, 3]);
        let iref = boxed("iref", &[&[0; 4], &dimg[..]].concat());
        let grid = [item(1, "grid"), item(2, "hvc1"), item(3, "hvc1")];

        assert!(check_primary_image(&file("heic", &[item(1, "hvc1")], &[])).is_ok());
        assert!(check_primary_image(&file("heic", &grid, &iref)).is_ok());
    }

    #[test]
    fn primary_image_of_another_coding_is_refused_by_name() {
        let named = |coding| refusal(&file("mif1", &[item(1, coding)], &[]));

        assert_eq!(named("av01"), "AVIF");
        assert_eq!(named("jpeg"), "HEIF with JPEG");
        assert_eq!(named("unci"), "uncompressed HEIF");
        assert_eq!(named("????"), "HEIF with an unknown coding");
    }

    #[test]
    fn grid_that_is_its_own_part_is_malformed() {
        let dimg = boxed("dimg", &[0, 1, 0, 1, 0, 1]);
        let iref = boxed("iref", &[&[0; 4], &dimg[..]].concat());
        let file = file("heic", &[item(1, "grid")], &iref);

        assert!(matches!(
            check_primary_image(&file),
            Err(Error::Malformed(..))
        ));
    }

    #[test]
    fn movies_and_sequences_are_refused_by_name() {
        let movie = |brand: &str| {
            let ftyp = boxed("ftyp", &[brand.as_bytes(), &[0; 4]].concat());
            [ftyp, boxed("moov", b"")].concat()
        };

        assert_eq!(refusal(&movie("hevc")), "HEIF image sequence");
        assert_eq!(refusal(&movie("isom")), "video");
        assert_eq!(refusal(&movie("avis")), "AVIF");
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = file("heic", &[item(1, "hvc1")], &[]);

        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap();
            assert!(check_primary_image(cut).is_err(), "{length}");
        }
    }
}
