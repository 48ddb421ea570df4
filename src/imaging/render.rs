//! The way from an upload to its renditions: opens it with the right reader, plans what goes where, and finishes the
//! small picture.

use crate::config;
use crate::domain::picture::Applied;
use crate::domain::picture::Crop;
use crate::domain::picture::Fit;
use crate::domain::picture::Format;
use crate::domain::picture::Rendition;
use crate::imaging::Decoder;
use crate::imaging::Error;
use crate::imaging::Rendered;
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
use crate::imaging::png;
use crate::imaging::probe;
use crate::imaging::raster::Decoded;
use crate::imaging::raster::Model;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Placement;
use crate::imaging::raster::Raster;
use crate::imaging::raster::Request;
use crate::imaging::resize::Resizer;
use crate::imaging::silhouette;

/// Longest side of the picture that a ThumbHash is made of, in pixels. Source: the crate's contract.
const THUMBHASH_SIDE: u32 = 100;

/// Everything that is worth keeping from one picture to the next.
#[derive(Debug)]
pub(super) struct Tools {
    turbo: jpeg::Turbo,
    resizer: Resizer,
    converter: Converter,
    encoder: Encoder,
}

/// An upload whose header has been read.
enum Source<'a> {
    Jpeg(&'a [u8], jpeg::Header),
    Png(Box<png::Source<'a>>),
    Heic(heif::Source<'a>),
}

impl<'a> Source<'a> {
    fn open(upload: &'a [u8], pixels_max: u64) -> Result<Self, Error> {
        let source = match probe::format(upload)? {
            Format::Jpeg => Self::Jpeg(upload, jpeg::Header::read(upload)?),
            Format::Png => Self::Png(Box::new(png::Source::open(upload)?)),
            Format::Heic => Self::Heic(heif::Source::open(upload, pixels_max)?),
        };
        let size = source.size();
        if size.pixels() > pixels_max {
            return Err(Error::TooManyPixels {
                width: size.width,
                height: size.height,
                pixels: size.pixels(),
                pixels_max,
            });
        }
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

impl Tools {
    /// Nothing kept yet.
    pub(super) fn new() -> Self {
        Self {
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
    ) -> Result<Rendered, Error> {
        let source = Source::open(upload, config.pixels_max)?;
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
        let (picture, decoder) = self.decode(source, &request)?;
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
        let (small, converted, had_alpha) = self.finished(config, picture, &request)?;
        note(Applied::Srgb, converted);
        note(Applied::Flattened, had_alpha);
        applied.sort_unstable();

        let canvas = Canvas::upright(layout.content, small, view.orientation)
            .padded(layout.canvas, config.background);
        Ok(Rendered {
            format,
            decoder,
            width: side(canvas.size.width),
            height: side(canvas.size.height),
            thumbhash: self.thumbhash(&canvas)?,
            renditions: self.renditions(config, canvas)?,
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
        source: Source<'_>,
        request: &Request,
    ) -> Result<(Decoded, Decoder), Error> {
        match source {
            Source::Jpeg(file, header) => {
                let decoded = self.turbo.decode(file, &header, request)?;
                Ok((decoded, Decoder::Turbo))
            }
            Source::Png(source) => Ok((source.decode(request)?, Decoder::Png)),
            Source::Heic(source) => Ok((source.decode(request)?, Decoder::Heif)),
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
                let has_alpha = model.has_alpha();
                let samples = self.resizer.resize(raster, has_alpha, source, target)?;
                Ok((*model, samples))
            }
            Pixels::Luma(matrix, raster) => {
                let luma = self.resizer.resize(raster, false, source, target)?;
                let none = vec![128; luma.len()];
                Ok((Model::Rgb, luma::to_rgb(*matrix, [&luma, &none, &none])))
            }
            Pixels::Planar(matrix, planes) => {
                let [luma, blue, red] = planes.as_ref();
                let luma = self.resizer.resize(luma, false, source, target)?;
                let blue = self.resizer.resize(blue, false, source, target)?;
                let red = self.resizer.resize(red, false, source, target)?;
                Ok((Model::Rgb, luma::to_rgb(*matrix, [&luma, &blue, &red])))
            }
        }
    }

    /// The finished picture in every size, the smaller ones made from the largest.
    fn renditions(
        &mut self,
        config: &config::Picture,
        canvas: Canvas,
    ) -> Result<Vec<Rendition>, Error> {
        let largest = Raster {
            size: canvas.size,
            channels: 3,
            samples: canvas.rgb,
            placement: Placement::IDENTITY,
        };
        let shown = View::whole(largest.size, Orientation::UPRIGHT);
        let sizes = config.sizes_px.iter();
        sizes
            .map(|size_px| {
                let layout = Layout::fit(&shown, Fit::Inside, u32::from(*size_px));
                let rgb = self
                    .resizer
                    .resize(&largest, false, layout.source, layout.content)?;
                let bytes = self.encoder.encode(config, layout.content, &rgb)?;
                Ok(Rendition {
                    size_px: *size_px,
                    bytes,
                })
            })
            .collect()
    }

    fn thumbhash(&mut self, canvas: &Canvas) -> Result<Vec<u8>, Error> {
        let largest = Raster {
            size: canvas.size,
            channels: 3,
            samples: canvas.rgb.clone(),
            placement: Placement::IDENTITY,
        };
        let shown = View::whole(canvas.size, Orientation::UPRIGHT);
        let Size { width, height } = Layout::fit(&shown, Fit::Inside, THUMBHASH_SIDE).content;
        let rgb = self.resizer.resize(
            &largest,
            false,
            Region::whole(canvas.size),
            Size { width, height },
        )?;
        let pixels = rgb.as_chunks().0.iter();
        let rgba: Vec<u8> = pixels
            .flat_map(|[red, green, blue]| [*red, *green, *blue, u8::MAX])
            .collect();
        let index = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
        Ok(thumbhash::rgba_to_thumb_hash(
            index(width),
            index(height),
            &rgba,
        ))
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
