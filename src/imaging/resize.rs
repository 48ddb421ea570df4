//! The fine resize, by Lanczos with three lobes.

use fast_image_resize::FilterType;
use fast_image_resize::PixelType;
use fast_image_resize::ResizeAlg;
use fast_image_resize::ResizeOptions;
use fast_image_resize::images::Image;
use fast_image_resize::images::ImageRef;

use crate::imaging::Error;
use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::raster::Raster;

/// Resizes; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Resizer {
    inner: fast_image_resize::Resizer,
}

impl Resizer {
    /// Resizes a region of the stored picture, which the raster covers, to `target`. Colours are weighted by alpha if the
    /// last channel is one.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`]: the raster has other samples than it says.
    pub(super) fn resize(
        &mut self,
        raster: &Raster,
        has_alpha: bool,
        source: Region,
        target: Size,
    ) -> Result<Vec<u8>, Error> {
        let kind = match raster.channels {
            1 => PixelType::U8,
            2 => PixelType::U8x2,
            3 => PixelType::U8x3,
            _ => PixelType::U8x4,
        };
        let found = raster.locate(source);
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
            .crop(found.x, found.y, found.width, found.height)
            .use_alpha(has_alpha);
        let Size { width, height } = raster.size;
        let from = ImageRef::new(width, height, &raster.samples, kind)
            .map_err(|error| Error::Internal(error.into()))?;
        let mut to = Image::new(target.width, target.height, kind);
        self.inner
            .resize(&from, &mut to, &options)
            .map_err(|error| Error::Internal(error.into()))?;
        Ok(to.into_vec())
    }
}
