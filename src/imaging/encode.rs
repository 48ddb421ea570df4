//! RGB pixels in, a JPEG file without any metadata out.

use bytes::Bytes;
use turbojpeg::Compressor;
use turbojpeg::Image;
use turbojpeg::PixelFormat;
use turbojpeg::Subsamp;

use crate::config;
use crate::imaging::Error;
use crate::imaging::geometry::Size;

/// Encodes; keeps its handle.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    handle: Option<Compressor>,
}

impl Encoder {
    /// Encodes RGB pixels: 4:2:0 (colour differences averaged), Huffman tables made for the picture.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`]: out of memory, or not as many pixels as said.
    pub(super) fn encode(
        &mut self,
        config: &config::Picture,
        size: Size,
        rgb: &[u8],
    ) -> Result<Bytes, Error> {
        self.try_encode(config, size, rgb)
            .map_err(|error| Error::Internal(error.into()))
    }

    fn try_encode(
        &mut self,
        config: &config::Picture,
        size: Size,
        rgb: &[u8],
    ) -> turbojpeg::Result<Bytes> {
        let mut handle = match self.handle.take() {
            Some(handle) => handle,
            None => Compressor::new()?,
        };
        handle.set_quality(i32::from(config.quality))?;
        handle.set_subsamp(Subsamp::Sub2x2)?;
        handle.set_progressive(config.progressive)?;
        handle.set_optimize(true)?;
        let width = usize::try_from(size.width).unwrap_or(usize::MAX);
        let file = handle.compress_to_owned(Image {
            pixels: rgb,
            width,
            pitch: width.saturating_mul(PixelFormat::RGB.size()),
            height: usize::try_from(size.height).unwrap_or(usize::MAX),
            format: PixelFormat::RGB,
        })?;
        self.handle = Some(handle);
        Ok(Bytes::copy_from_slice(&file))
    }
}
