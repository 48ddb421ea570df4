//! Upload bytes in, finished pictures out. Pure: no I/O, clock, randomness or logging.
//!
//! Order, because each step trusts only what the one before has proved:
//! `probe` (format, dimensions, limits: refuse before allocating) → decode only what is needed → resize → sRGB →
//! flatten → upright → encode. Turning and colours come after the resize because there is less to turn and convert then.
//!
//! `layout` knows where things lie; `jpeg`, `png` and `heif` deliver `raster`s of what is shown, no larger than useful;
//! everything after that is the same for all formats.

mod bytes;
mod canvas;
mod cause;
mod color;
mod encode;
mod exif;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod geometry;
mod heif;
mod jpeg;
mod layout;
mod luma;
mod plain;
mod png;
mod probe;
mod profile;
mod raster;
mod render;
mod resize;
mod shrink;
mod silhouette;
mod step;
mod stop;
#[cfg(test)]
mod tests;
mod tone;

use std::borrow::Cow;
use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

use crate::config;
use crate::domain::picture::Applied;
use crate::domain::picture::Crop;
use crate::domain::picture::Format;
use crate::domain::picture::Rendition;

pub use plain::plain_jpeg_dimensions;
pub use probe::accepted_format;
pub use render::stages::Stages;
pub use step::{Step, Watcher};

/// Why there is no picture. The upload's fault, except [`Error::Internal`]. Decode workers send it.
#[derive(Debug, Deserialize, Serialize, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("the file is empty")]
    Empty,
    #[error("the file is not an image")]
    NotAnImage,
    #[error("{0} is not accepted, only JPEG, PNG and HEIC are")]
    UnsupportedFormat(Cow<'static, str>),
    #[error("the picture has {pixels} pixels ({width} × {height}), the limit is {pixels_max}")]
    TooManyPixels {
        width: u32,
        height: u32,
        pixels: u64,
        pixels_max: u64,
    },
    #[error("the picture is {width} × {height} pixels, the limit of a side is {side_px_max}")]
    SideTooLong {
        width: u32,
        height: u32,
        side_px_max: u32,
    },
    #[error("the crop ends at {right},{bottom}, outside the picture of {width} × {height}")]
    CropOutside {
        right: u64,
        bottom: u64,
        width: u32,
        height: u32,
    },
    #[error("cannot decode the {0} file")]
    Malformed(
        Format,
        #[source]
        #[serde(with = "cause")]
        Box<dyn StdError + Send + Sync>,
    ),
    #[error("cannot encode the picture")]
    Internal(
        #[source]
        #[serde(with = "cause")]
        Box<dyn StdError + Send + Sync>,
    ),
}

/// Whether C and C++ may run on the bytes of an upload. The encoder is C, too, but it reads only pixels that we made, in
/// sizes that we chose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Native {
    Allowed,
    Forbidden,
}

/// Damage that our own readers found.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
struct Damage(&'static str);

/// The code that decoded an upload. All but [`Decoder::Scaled`] and [`Decoder::Png`] run C or C++ on its bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub enum Decoder {
    /// Our own, for JPEG.
    Scaled,
    /// libjpeg-turbo.
    Turbo,
    /// The png crate.
    Png,
    /// libheif and libde265.
    Libde265,
    /// libheif and libavcodec.
    Libavcodec,
}

impl Decoder {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Scaled,
        Self::Turbo,
        Self::Png,
        Self::Libde265,
        Self::Libavcodec,
    ];

    /// A stable name, for logs and counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scaled => "scaled",
            Self::Turbo => "libjpeg_turbo",
            Self::Png => "png",
            Self::Libde265 => "libde265",
            Self::Libavcodec => "libavcodec",
        }
    }
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The format that the upload had, by its content.
    pub format: Format,
    /// The code that decoded it.
    pub decoder: Decoder,
    /// Width of the largest rendition, in pixels.
    pub width: u16,
    /// Height of the largest rendition, in pixels.
    pub height: u16,
    /// One JPEG file a configured size, in the order of the configuration (largest first).
    pub renditions: Vec<Rendition>,
    /// `ThumbHash` of the picture, at most 25 bytes.
    pub thumbhash: Vec<u8>,
    /// What was done, sorted, each at most once.
    pub applied: Vec<Applied>,
}

/// The largest rendition before it is encoded: what there is to say about decoding, resizing and colours, without what
/// the encoder adds. For measurements.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unencoded {
    /// Width, in pixels.
    pub width: u16,
    /// Height, in pixels.
    pub height: u16,
    /// Red, green and blue of each pixel, row by row, in sRGB.
    pub rgb: Vec<u8>,
}

/// Makes renditions; keeps buffers, resizer and colour transforms for the next picture. One a worker.
#[derive(Debug)]
pub struct Renderer {
    config: config::Picture,
    tools: render::Tools,
}

impl Renderer {
    /// A renderer for this configuration, which has been validated.
    #[must_use]
    pub fn new(config: config::Picture) -> Self {
        Self {
            config,
            tools: render::Tools::new(),
        }
    }

    /// Decodes, turns upright, crops, resizes, converts to sRGB and encodes.
    ///
    /// # Errors
    ///
    /// See [`Error`]; each names the limit and the actual value where there is one.
    pub fn render(&mut self, upload: &[u8], crop: Option<Crop>) -> Result<Rendered, Error> {
        self.render_watched(upload, crop, &mut ())
    }

    /// The same, telling `watcher` of each step.
    ///
    /// # Errors
    ///
    /// Those of [`Renderer::render`].
    pub fn render_watched(
        &mut self,
        upload: &[u8],
        crop: Option<Crop>,
        watcher: &mut dyn Watcher,
    ) -> Result<Rendered, Error> {
        self.tools
            .render(&self.config, upload, crop, Native::Allowed, watcher)
            .map_err(Error::from)
    }

    /// The same without a line of C or C++ on the upload's bytes; `None` if that takes one.
    ///
    /// # Errors
    ///
    /// Those of [`Renderer::render`].
    pub fn render_in_rust(
        &mut self,
        upload: &[u8],
        crop: Option<Crop>,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<Rendered>, Error> {
        let native = Native::Forbidden;
        let rendered = self
            .tools
            .render(&self.config, upload, crop, native, watcher);
        match rendered {
            Ok(rendered) => Ok(Some(rendered)),
            Err(stop::Stop::NeedsNative) => Ok(None),
            Err(stop::Stop::Refused(error)) => Err(error),
        }
    }

    /// The largest rendition of the whole upload, not encoded.
    ///
    /// # Errors
    ///
    /// Those of [`Renderer::render`].
    pub fn unencoded(&mut self, upload: &[u8]) -> Result<Unencoded, Error> {
        self.tools
            .unencoded(&self.config, upload)
            .map_err(Error::from)
    }

    /// The picture of someone who has none: a neutral silhouette, in the configured sizes.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if it cannot be encoded.
    pub fn placeholder(&mut self) -> Result<Vec<Rendition>, Error> {
        self.tools.placeholder(&self.config)
    }
}
