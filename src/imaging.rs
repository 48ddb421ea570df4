//! Upload bytes in, finished pictures out. Pure: no I/O, clock, randomness or logging.
//!
//! Order, because each step trusts only what the one before has proved:
//! `probe` (format, dimensions, limits: refuse before allocating) → decode only what is needed → upright → crop →
//! resize → sRGB → encode.

use std::borrow::Cow;
use std::error::Error as StdError;

use crate::config;
use crate::domain::picture::Applied;
use crate::domain::picture::Crop;
use crate::domain::picture::Format;
use crate::domain::picture::Rendition;

/// Why there is no picture. The upload's fault, except [`Error::Internal`].
#[derive(Debug, thiserror::Error)]
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
    #[error("the crop ends at {right},{bottom}, outside the picture of {width} × {height}")]
    CropOutside {
        right: u64,
        bottom: u64,
        width: u32,
        height: u32,
    },
    #[error("cannot decode the {0} file")]
    Malformed(Format, #[source] Box<dyn StdError + Send + Sync>),
    #[error("cannot encode the picture")]
    Internal(#[source] Box<dyn StdError + Send + Sync>),
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The format that the upload had, by its content.
    pub format: Format,
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

/// Makes renditions; keeps buffers, resizer and colour transforms for the next picture. One a worker.
#[derive(Debug)]
pub struct Renderer {
    config: config::Picture,
}

impl Renderer {
    /// A renderer for this configuration, which has been validated.
    #[must_use]
    pub fn new(config: config::Picture) -> Self {
        Self { config }
    }

    /// Decodes, turns upright, crops, resizes, converts to sRGB and encodes.
    ///
    /// # Errors
    ///
    /// See [`Error`]; each names the limit and the actual value where there is one.
    pub fn render(&mut self, upload: &[u8], crop: Option<Crop>) -> Result<Rendered, Error> {
        let _ = (upload, crop, &self.config);
        Err(Error::NotAnImage)
    }

    /// The picture of someone who has none: a neutral silhouette, in the configured sizes.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if it cannot be encoded.
    pub fn placeholder(&mut self) -> Result<Vec<Rendition>, Error> {
        Ok(Vec::new())
    }
}
