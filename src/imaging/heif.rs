//! HEIC: HEVC images in a HEIF container, decoded by libheif and the HEVC decoder below it, tile by tile.
//!
//! Only the tiles that are shown are decoded, and their samples are averaged at once, so that not even the planes of a
//! 12-megapixel photo are held. Nothing is converted at full size. `irot`, `imir` and `clap` say which part of the picture
//! is shown and which way up; EXIF repeats this and is ignored (applying both is the classic mistake).

pub(super) mod boxes;
mod handle;
mod hevc;
#[cfg(feature = "libavcodec")]
mod libavcodec;
mod library;
mod picture;
mod planes;
#[cfg(feature = "libavcodec")]
mod plugin;
#[cfg(all(test, feature = "libavcodec"))]
mod tests;
mod toned;
mod transparent;
mod whole;

use crate::config::HevcDecoder;
use crate::domain::picture::Crop;
use crate::domain::picture::Format;
use crate::imaging::Damage;
use crate::imaging::Decoder;
use crate::imaging::Error;
use crate::imaging::geometry::Orientation;
use crate::imaging::geometry::Size;
use crate::imaging::heif::handle::Handle;
use crate::imaging::heif::handle::Part;
use crate::imaging::heif::handle::Tiling;
use crate::imaging::heif::hevc::Codec;
use crate::imaging::heif::library::Context;
use crate::imaging::heif::library::Refusal;
use crate::imaging::heif::library::Transformation;
use crate::imaging::heif::picture::Channel;
use crate::imaging::heif::picture::CodePoints;
use crate::imaging::heif::picture::Picture;
use crate::imaging::heif::picture::Plane;
use crate::imaging::heif::planes::Planes;
use crate::imaging::heif::toned::Toned;
use crate::imaging::layout::View;
use crate::imaging::luma::Matrix;
use crate::imaging::profile::PROFILE_BYTES_MAX;
use crate::imaging::profile::Profile;
use crate::imaging::raster::Decoded;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Request;
use crate::imaging::shrink::Window;

/// Colour planes in the order in which they are delivered: as luma and differences, or as the same of RGB.
const COLORS: [(Channel, Channel); 3] = [
    (Channel::Y, Channel::Green),
    (Channel::Cb, Channel::Blue),
    (Channel::Cr, Channel::Red),
];

/// Code points where neither the container nor the decoder gives any. The decoders give some for every picture of luma: of
/// coded data that says nothing, unspecified ones and the limited range. Source: ITU-T H.265, E.3.1.
const UNSPECIFIED: CodePoints = CodePoints {
    primaries: 2,
    transfer: 2,
    matrix: 2,
    full_range: true,
};

/// A HEIC file whose boxes have been read.
pub(super) struct Source<'a> {
    context: Context<'a>,
    handle: Handle,
    tiling: Tiling,
    /// Whether parts that the picture is put together of are turned or cut themselves. Then libheif does all of it, and the
    /// picture is taken as it shows it: no camera makes such files, but the standard has them.
    is_composed: bool,
}

impl<'a> Source<'a> {
    /// Reads the boxes and finds the primary image.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedFormat`] if the primary image is no HEVC, by name; [`Error::Malformed`] for damage.
    pub(super) fn open(file: &'a [u8], pixels_max: u64) -> Result<Self, Error> {
        boxes::check_primary_image(file)?;
        let profile_bytes_max = u32::try_from(PROFILE_BYTES_MAX).unwrap_or(u32::MAX);
        // Too many pixels are to be refused here, with their number: libheif would not tell. Its own limit is there for
        // what headers do not say.
        let context = Context::read(file, pixels_max.saturating_mul(2), profile_bytes_max)
            .map_err(refused)?;
        let handle = context.primary().map_err(refused)?;
        let is_composed = boxes::parts_of_primary_image(file)
            .into_iter()
            .any(|part| !context.transformations(part).is_empty());
        let tiling = if is_composed {
            handle.one_tile_as_shown()
        } else {
            handle.tiling().map_err(refused)?
        };
        if [tiling.tile_width, tiling.tile_height].contains(&0) {
            return Err(damaged("empty tiles"));
        }
        if [tiling.width, tiling.height].contains(&0) {
            return Err(damaged("an empty grid"));
        }
        Ok(Self {
            context,
            handle,
            tiling,
            is_composed,
        })
    }

    /// Size of the coded picture, before it is cut and turned (as [`Source::view`] tells).
    pub(super) fn size(&self) -> Size {
        Size {
            width: self.tiling.width,
            height: self.tiling.height,
        }
    }

    /// Which part of the coded picture is shown, and which way up.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if nothing is left of it.
    pub(super) fn view(&self) -> Result<View, Error> {
        let mut view = View::whole(self.size(), Orientation::UPRIGHT);
        if self.is_composed {
            return Ok(view);
        }
        for transformation in self.context.transformations(self.handle.id()) {
            view = match transformation {
                Transformation::Rotate { degrees } => {
                    view.turned(Orientation::from_degrees_anticlockwise(degrees))
                }
                Transformation::Mirror { left_right } => {
                    view.turned(Orientation::from_exif(if left_right { 2 } else { 4 }))
                }
                Transformation::Crop { property } => self
                    .crop(view.upright(), property)
                    .and_then(|crop| view.cut(crop))
                    .ok_or_else(|| damaged("the clean aperture is empty"))?,
            };
        }
        Ok(view)
    }

    fn crop(&self, size: Size, property: u32) -> Option<Crop> {
        let Size { width, height } = size;
        let [left, top, right, bottom] =
            self.context
                .crop_borders(&self.handle, property, width, height)?;
        Some(Crop {
            x: left,
            y: top,
            width: width.checked_sub(left)?.checked_sub(right)?,
            height: height.checked_sub(top)?.checked_sub(bottom)?,
        })
    }

    /// Whether there is anything but the picture.
    pub(super) fn has_metadata(&self) -> bool {
        self.handle.has_company()
            || self.handle.icc_profile().is_some()
            || self.context.image_count() > 1
    }

    /// Decodes the tiles that the request shows, by the first of the chosen decoders that knows their kind. What one finds
    /// damaged is not shown to another, which may look less closely.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for damage in one of them, as the last decoder tells it.
    pub(super) fn decode(
        self,
        request: &Request,
        choice: HevcDecoder,
    ) -> Result<(Decoded, Decoder), Error> {
        let mut refusal = damaged("no decoder of HEVC");
        for codec in hevc::codecs(choice, self.handle.bits()) {
            match self.decode_by(*codec, request) {
                Ok(decoded) => return Ok((decoded, codec.decoder())),
                Err(error) if is_of_support(&error) => refusal = error,
                Err(error) => return Err(error),
            }
        }
        Err(refusal)
    }

    fn decode_by(&self, codec: Codec, request: &Request) -> Result<Decoded, Error> {
        let (pixels, profile, toned) = if self.handle.has_alpha() {
            self.decode_with_alpha(codec, request)?
        } else {
            self.decode_tiles(codec, request)?
        };
        Ok(Decoded {
            pixels,
            profile,
            deep: self.handle.bits().0 > 8,
            toned,
        })
    }

    /// The pixels, what their numbers mean as colours, and whether they are brought to tones of sRGB.
    fn decode_tiles(
        &self,
        codec: Codec,
        request: &Request,
    ) -> Result<(Pixels, Profile, bool), Error> {
        let Tiling {
            tile_width,
            tile_height,
            ..
        } = self.tiling;
        let window = Window::around(request.source, self.size());
        let mut collected = None;
        for row in touched(window.y, window.size.height, tile_height) {
            for column in touched(window.x, window.size.width, tile_width) {
                // An image that is not a grid is one tile, but libheif checks that tile against the size after `clap`.
                let part = if self.tiling.is_grid() {
                    Part::Tile(column, row)
                } else {
                    self.all()
                };
                let tile = self.handle.decode(codec, part).map_err(refused)?;
                let origin = (
                    column.saturating_mul(tile_width),
                    row.saturating_mul(tile_height),
                );
                if let Some(collected) = &mut collected {
                    add(collected, &tile, origin)?;
                } else {
                    let begun = collected.insert(self.begin(&tile, request, window)?);
                    add(begun, &tile, origin)?;
                }
            }
        }
        match collected.ok_or_else(|| damaged("no tiles"))? {
            Collected::Planes(planes, profile) => Ok((planes.finish()?, profile, false)),
            Collected::Toned(toned) => {
                let (pixels, profile) = toned.finish();
                Ok((pixels, profile, true))
            }
        }
    }

    /// Prepares for tiles like the first one.
    fn begin(
        &self,
        first: &Picture,
        request: &Request,
        window: Window,
    ) -> Result<Collected, Error> {
        let (matrix, profile) = (self.matrix(first)?, self.profile(first));
        if let Some(toned) = Toned::new(first, false, matrix, &profile, request, window) {
            return Ok(Collected::Toned(toned));
        }
        let planes = Planes::new(first, matrix, request, self.size())?;
        Ok(Collected::Planes(planes, profile))
    }

    /// The same where there is transparency. libheif has no tiles of alpha: the whole picture is decoded.
    fn decode_with_alpha(
        &self,
        codec: Codec,
        request: &Request,
    ) -> Result<(Pixels, Profile, bool), Error> {
        let picture = self.handle.decode(codec, self.all()).map_err(refused)?;
        let (matrix, profile) = (self.matrix(&picture)?, self.profile(&picture));
        let is_premultiplied = self.handle.is_premultiplied();
        let size = self.size();
        let window = Window::around(request.source, size);
        let toned = Toned::new(
            &picture,
            is_premultiplied,
            matrix,
            &profile,
            request,
            window,
        );
        if let Some(mut toned) = toned {
            toned.add(&picture, (0, 0))?;
            let (pixels, profile) = toned.finish();
            return Ok((pixels, profile, true));
        }
        let pixels = transparent::averaged(&picture, size, matrix, is_premultiplied, request)?;
        Ok((pixels, profile, false))
    }

    /// All of the picture, as [`Source::size`] and [`Source::view`] speak of it.
    const fn all(&self) -> Part {
        if self.is_composed {
            Part::Shown
        } else {
            Part::Stored
        }
    }

    /// The container's code points before those of the coded data. Source: ISO/IEC 23008-12, 6.5.5.1. But coded data that says
    /// full range has it: Sony's cameras write that, and limited range into the container.
    fn code_points(&self, first: &Picture) -> CodePoints {
        let coded = first.code_points();
        let container = self.handle.code_points();
        let points = container.or(coded).unwrap_or(UNSPECIFIED);
        CodePoints {
            full_range: points.full_range || coded.is_some_and(|coded| coded.full_range),
            ..points
        }
    }

    fn matrix(&self, first: &Picture) -> Result<Matrix, Error> {
        if first.plane(Channel::Y).is_none() {
            return Ok(Matrix::Identity { full_range: true });
        }
        let points = self.code_points(first);
        let matrix = match points.matrix {
            // Green, blue and red of which there is only one: it is grey.
            0 if first.plane(Channel::Cb).is_none() => UNSPECIFIED.matrix,
            matrix => matrix,
        };
        Matrix::from_code_points(matrix, points.primaries, points.full_range).ok_or_else(|| {
            Error::UnsupportedFormat("HEIC with colours as ICtCp or Y'D'zD'x".into())
        })
    }

    /// A profile, wherever it is: iPhones before iOS 12 attach it to the tiles only.
    fn profile(&self, first: &Picture) -> Profile {
        let icc = self.handle.icc_profile().or_else(|| first.icc_profile());
        if let Some(icc) = icc {
            return Profile::from_icc(icc);
        }
        let points = self.code_points(first);
        Profile::from_code_points(points.primaries, points.transfer)
    }
}

/// The tiles that a span of pixels touches.
fn touched(begin: u32, length: u32, tile: u32) -> std::ops::Range<u32> {
    let first = begin.checked_div(tile).unwrap_or(0);
    first..begin.saturating_add(length).div_ceil(tile)
}

/// The colour planes of a picture; monochrome has one.
fn color_planes(picture: &Picture) -> Result<[Option<Plane<'_>>; 3], Error> {
    let planes = COLORS.map(|(luma, rgb)| picture.plane(luma).or_else(|| picture.plane(rgb)));
    match planes {
        [None, ..] | [_, Some(_), None] | [_, None, Some(_)] => Err(damaged("a plane is missing")),
        planes => Ok(planes),
    }
}

/// The picture, while its tiles are collected.
enum Collected {
    /// As its planes, and what their colours mean.
    Planes(Planes, Profile),
    Toned(Toned),
}

fn add(collected: &mut Collected, tile: &Picture, origin: (u32, u32)) -> Result<(), Error> {
    match collected {
        Collected::Planes(planes, _) => planes.add(tile, origin),
        Collected::Toned(toned) => toned.add(tile, origin),
    }
}

/// Whether another decoder may be able to decode the picture.
fn is_of_support(error: &Error) -> bool {
    let Error::Malformed(_, cause) = error else {
        return false;
    };
    cause.downcast_ref().is_some_and(Refusal::is_of_support)
}

fn refused(refusal: Refusal) -> Error {
    Error::Malformed(Format::Heic, refusal.into())
}

fn damaged(what: &'static str) -> Error {
    Error::Malformed(Format::Heic, Damage(what).into())
}
