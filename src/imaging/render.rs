//! The way from an upload to its renditions: opens it with the right reader, plans what goes where, and finishes the
//! small picture.

pub(super) mod stages;

use crate::config;
use crate::domain::picture::Applied;
use crate::domain::picture::Crop;
use crate::domain::picture::Fit;
use crate::domain::picture::Format;
use crate::domain::picture::Rendition;
use crate::imaging::Decoder;
use crate::imaging::Error;
use crate::imaging::Native;
use crate::imaging::Rendered;
use crate::imaging::Unencoded;
use crate::imaging::canvas;
use crate::imaging::canvas::Canvas;
use crate::imaging::color::Converter;
use crate::imaging::encode::Encoder;
use crate::imaging::geometry::Orientation;
use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::heif;
use crate::imaging::jpeg;
use crate::imaging::layout::Layout;
use crate::imaging::layout::View;
use crate::imaging::luma;
use crate::imaging::luma::Matrix;
use crate::imaging::png;
use crate::imaging::probe;
use crate::imaging::raster::Decoded;
use crate::imaging::raster::Model;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Placement;
use crate::imaging::raster::Raster;
use crate::imaging::raster::Request;
use crate::imaging::resize::Kind;
use crate::imaging::resize::Resizer;
use crate::imaging::silhouette;
use crate::imaging::step::{Step, Watcher};
use crate::imaging::stop::Stop;

/// Longer side of the picture that a ThumbHash is made of, in pixels. Its finest waves are a seventh of the picture; more
/// pixels cost time (1.7 ms with the 100 that are allowed) and change nothing.
const THUMBHASH_SIDE: u32 = 32;

/// Everything that is worth keeping from one picture to the next.
#[derive(Debug)]
pub(super) struct Tools {
    scaled: jpeg::Scaled,
    turbo: jpeg::Turbo,
    resizer: Resizer,
    converter: Converter,
    encoder: Encoder,
}

/// Whether a picture of this size is taken.
fn within(config: &config::Picture, size: Size) -> Result<(), Error> {
    let Size { width, height } = size;
    if size.pixels() > config.pixels_max {
        return Err(Error::TooManyPixels {
            width,
            height,
            pixels: size.pixels(),
            pixels_max: config.pixels_max,
        });
    }
    if width.max(height) > config.side_px_max {
        return Err(Error::SideTooLong {
            width,
            height,
            side_px_max: config.side_px_max,
        });
    }
    Ok(())
}

/// An upload whose header has been read.
enum Source<'a> {
    Jpeg(&'a [u8], jpeg::Header),
    Png(Box<png::Source<'a>>),
    Heic(heif::Source<'a>),
}

impl<'a> Source<'a> {
    fn open(upload: &'a [u8], config: &config::Picture, native: Native) -> Result<Self, Stop> {
        let source = match probe::format(upload)? {
            Format::Jpeg => Self::Jpeg(upload, jpeg::Header::read(upload)?),
            Format::Png => {
                // The decoder refuses rows that are too long for it, without saying so.
                png::declared_size(upload).map_or(Ok(()), |size| within(config, size))?;
                Self::Png(Box::new(png::Source::open(upload)?))
            }
            Format::Heic if native == Native::Forbidden => return Err(Stop::NeedsNative),
            Format::Heic => Self::Heic(heif::Source::open(upload, config.pixels_max)?),
        };
        within(config, source.size())?;
        Ok(source)
    }

    fn format(&self) -> Format {
        match self {
            Self::Jpeg(..) => Format::Jpeg,
            Self::Png(_) => Format::Png,
            Self::Heic(_) => Format::Heic,
        }
    }

    fn size(&self) -> Size {
        match self {
            Self::Jpeg(_, header) => header.size,
            Self::Png(source) => source.size(),
            Self::Heic(source) => source.size(),
        }
    }

    fn view(&self) -> Result<View, Error> {
        match self {
            Self::Jpeg(_, header) => Ok(View::whole(header.size, header.orientation)),
            Self::Png(source) => Ok(View::whole(source.size(), source.orientation())),
            Self::Heic(source) => source.view(),
        }
    }

    fn has_metadata(&self) -> bool {
        match self {
            Self::Jpeg(_, header) => header.has_metadata,
            Self::Png(source) => source.has_metadata(),
            Self::Heic(source) => source.has_metadata(),
        }
    }
}

/// The largest rendition before it is encoded, and what is to be told of it.
struct Finished {
    canvas: Canvas,
    format: Format,
    decoder: Decoder,
    applied: Vec<Applied>,
}

impl Tools {
    /// Nothing kept yet.
    pub(super) fn new() -> Self {
        Self {
            scaled: jpeg::Scaled::default(),
            turbo: jpeg::Turbo::default(),
            resizer: Resizer::default(),
            converter: Converter::new(),
            encoder: Encoder::default(),
        }
    }

    /// See [`crate::imaging::Renderer::render`].
    pub(super) fn render(
        &mut self,
        config: &config::Picture,
        upload: &[u8],
        crop: Option<Crop>,
        native: Native,
        watcher: &mut dyn Watcher,
    ) -> Result<Rendered, Stop> {
        let Finished {
            canvas,
            format,
            decoder,
            applied,
        } = self.finish(config, upload, crop, native, watcher)?;
        let size = canvas.size;
        let (renditions, thumbhash) = self.renditions(config, canvas, watcher)?;
        Ok(Rendered {
            format,
            decoder,
            width: side(size.width),
            height: side(size.height),
            renditions,
            thumbhash,
            applied,
        })
    }

    /// See [`crate::imaging::Renderer::unencoded`].
    pub(super) fn unencoded(
        &mut self,
        config: &config::Picture,
        upload: &[u8],
    ) -> Result<Unencoded, Stop> {
        let finished = self.finish(config, upload, None, Native::Allowed, &mut ())?;
        let Canvas { size, rgb } = finished.canvas;
        Ok(Unencoded {
            width: side(size.width),
            height: side(size.height),
            rgb,
        })
    }

    /// Everything but the encoding of the largest rendition.
    fn finish(
        &mut self,
        config: &config::Picture,
        upload: &[u8],
        crop: Option<Crop>,
        native: Native,
        watcher: &mut dyn Watcher,
    ) -> Result<Finished, Stop> {
        watcher.begins(Step::Decode);
        let source = Source::open(upload, config, native)?;
        let format = source.format();
        let has_metadata = source.has_metadata();
        let whole = source.view()?;
        let view = match crop {
            Some(crop) => cut(whole, crop)?,
            None => whole,
        };
        let layout = Layout::fit(&view, config.fit, largest(config));
        let request = Request {
            source: layout.source,
            target: layout.content,
        };
        let (picture, decoder) = self.decode(config, source, &request, native)?;
        watcher.begins(Step::Resize);
        let mut applied = Vec::new();
        let mut note = |step, was_done| {
            if was_done {
                applied.push(step);
            }
        };
        note(Applied::Rotated, view.orientation != Orientation::UPRIGHT);
        note(Applied::Cropped, layout.cropped || view.size != whole.size);
        note(Applied::Padded, layout.padded(view.orientation));
        note(Applied::Enlarged, layout.enlarged);
        note(Applied::DepthReduced, picture.deep);
        note(Applied::MetadataRemoved, has_metadata);
        note(Applied::FallbackDecoder, decoder == Decoder::Turbo);
        let (small, converted, had_alpha) = self.finished(config, picture, &request)?;
        note(Applied::Srgb, converted);
        note(Applied::Flattened, had_alpha);
        applied.sort_unstable();

        let canvas = Canvas::upright(layout.content, small, view.orientation)
            .padded(layout.canvas, config.background);
        Ok(Finished {
            canvas,
            format,
            decoder,
            applied,
        })
    }

    /// See [`crate::imaging::Renderer::placeholder`].
    pub(super) fn placeholder(
        &mut self,
        config: &config::Picture,
    ) -> Result<Vec<Rendition>, Error> {
        let sizes = config.sizes_px.iter();
        sizes
            .map(|size_px| {
                let square = Size::square(u32::from(*size_px));
                let rgb = silhouette::draw(*size_px);
                let bytes = self.encoder.encode(config, square, &rgb)?;
                Ok(Rendition {
                    size_px: *size_px,
                    bytes,
                })
            })
            .collect()
    }

    fn decode(
        &mut self,
        config: &config::Picture,
        source: Source<'_>,
        request: &Request,
        native: Native,
    ) -> Result<(Decoded, Decoder), Stop> {
        match source {
            Source::Jpeg(file, header) => {
                if let Ok(decoded) = self.scaled.decode(file, &header, request) {
                    return Ok((decoded, Decoder::Scaled));
                }
                if native == Native::Forbidden {
                    return Err(Stop::NeedsNative);
                }
                let decoded = self
                    .turbo
                    .decode(file, &header, request, config.pixels_max)?;
                Ok((decoded, Decoder::Turbo))
            }
            Source::Png(source) => Ok((source.decode(request)?, Decoder::Png)),
            Source::Heic(source) => Ok(source.decode(request, config.hevc_decoder)?),
        }
    }

    /// Resizes, converts to sRGB and flattens. Also tells whether colours were converted, and whether there was
    /// transparency.
    fn finished(
        &mut self,
        config: &config::Picture,
        decoded: Decoded,
        request: &Request,
    ) -> Result<(Vec<u8>, bool, bool), Error> {
        let (model, samples) = self.resized(&decoded.pixels, request)?;
        // Free the large pixels before the small ones are copied about.
        let profile = decoded.profile;
        drop(decoded.pixels);
        let (samples, converted) = self.converter.convert(model, samples, &profile);
        let converted = converted || decoded.toned;
        if !model.has_alpha() {
            return Ok((samples, converted, false));
        }
        let (rgb, had_alpha) = canvas::flattened(&samples, config.background);
        Ok((rgb, converted, had_alpha))
    }

    fn resized(&mut self, pixels: &Pixels, request: &Request) -> Result<(Model, Vec<u8>), Error> {
        let Request { source, target } = *request;
        match pixels {
            Pixels::Interleaved(model, raster) => {
                let kind = if model.has_alpha() {
                    Kind::WithAlpha
                } else {
                    Kind::Opaque
                };
                let samples = self.resizer.resize(raster, kind, source, target)?;
                Ok((*model, samples))
            }
            Pixels::Luma(matrix, raster) => {
                let luma = self.resizer.resize(raster, Kind::Opaque, source, target)?;
                let none = vec![128; luma.len()];
                Ok((Model::Rgb, luma::to_rgb(*matrix, [&luma, &none, &none])))
            }
            Pixels::Planar(matrix @ Matrix::Identity { .. }, planes) => {
                let mut resized =
                    |raster| self.resizer.resize(raster, Kind::Opaque, source, target);
                let [green, blue, red] = planes.as_ref();
                let (green, blue, red) = (resized(green)?, resized(blue)?, resized(red)?);
                let rgb = luma::to_rgb(*matrix, [&green, &blue, &red]);
                Ok((Model::Rgb, rgb))
            }
            Pixels::Planar(matrix, planes) => {
                let [luma, blue, red] = planes.as_ref();
                let luma = self.resizer.resize(luma, Kind::Opaque, source, target)?;
                // The renditions have one colour difference for four pixels.
                let coarse = target.halved();
                let blue = self
                    .resizer
                    .resize(blue, Kind::Difference, source, coarse)?;
                let red = self.resizer.resize(red, Kind::Difference, source, coarse)?;
                let rgb = luma::coarse_to_rgb(*matrix, target, [&luma, &blue, &red]);
                Ok((Model::Rgb, rgb))
            }
        }
    }

    /// The finished picture in every size, and its ThumbHash. Each size is made from the one before; that costs least, and
    /// nothing that can be seen.
    fn renditions(
        &mut self,
        config: &config::Picture,
        canvas: Canvas,
        watcher: &mut dyn Watcher,
    ) -> Result<(Vec<Rendition>, Vec<u8>), Error> {
        let largest = canvas.size;
        let mut last = canvas;
        let mut renditions = Vec::with_capacity(config.sizes_px.len());
        for size_px in &config.sizes_px {
            watcher.begins(Step::Resize);
            last = self.reduced(last, largest, u32::from(*size_px))?;
            watcher.begins(Step::Encode);
            renditions.push(Rendition {
                size_px: *size_px,
                bytes: self.encoder.encode(config, last.size, &last.rgb)?,
            });
        }
        watcher.begins(Step::Resize);
        let Canvas { size, rgb } = self.reduced(last, largest, THUMBHASH_SIDE)?;
        let pixels = rgb.as_chunks().0.iter();
        let rgba: Vec<u8> = pixels
            .flat_map(|[red, green, blue]| [*red, *green, *blue, u8::MAX])
            .collect();
        let index = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
        let (width, height) = (index(size.width), index(size.height));
        let thumbhash = thumbhash::rgba_to_thumb_hash(width, height, &rgba);
        Ok((renditions, thumbhash))
    }

    /// A picture with this longer side and the proportions of the largest one.
    fn reduced(&mut self, canvas: Canvas, largest: Size, side: u32) -> Result<Canvas, Error> {
        let target = Layout::fit(
            &View::whole(largest, Orientation::UPRIGHT),
            Fit::Inside,
            side,
        )
        .content;
        if target == canvas.size {
            return Ok(canvas);
        }
        let raster = Raster {
            size: canvas.size,
            stride: canvas.size.width,
            channels: Model::Rgb.channels(),
            samples: canvas.rgb,
            placement: Placement::IDENTITY,
        };
        let source = Region::whole(raster.size);
        Ok(Canvas {
            size: target,
            rgb: self.resizer.resize(&raster, Kind::Opaque, source, target)?,
        })
    }
}

fn cut(view: View, crop: Crop) -> Result<View, Error> {
    view.cut(crop).ok_or_else(|| {
        let Size { width, height } = view.upright();
        Error::CropOutside {
            right: u64::from(crop.x).saturating_add(u64::from(crop.width)),
            bottom: u64::from(crop.y).saturating_add(u64::from(crop.height)),
            width,
            height,
        }
    })
}

fn largest(config: &config::Picture) -> u32 {
    config.sizes_px.first().copied().map_or(1, u32::from)
}

fn side(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}
