//! The fine resize.

use fast_image_resize::FilterType;
use fast_image_resize::PixelType;
use fast_image_resize::ResizeAlg;
use fast_image_resize::ResizeOptions;
use fast_image_resize::images::CroppedImage;
use fast_image_resize::images::Image;
use fast_image_resize::images::ImageRef;

use crate::imaging::Error;
use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::raster::Raster;

/// What is resized, which decides about the filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Colours or luma: by Lanczos with three lobes, which keeps them sharp.
    Opaque,
    /// The same with alpha as the last channel, by which the others are weighted.
    WithAlpha,
    /// Colour differences: by Catmull and Rom's cubic. The eye does not see them as sharp, and it takes two thirds of the time.
    Difference,
}

/// Resizes; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Resizer {
    inner: fast_image_resize::Resizer,
}

impl Resizer {
    /// Resizes a region of the stored picture, which the raster covers, to `target`.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`]: the raster has other samples than it says.
    pub(super) fn resize(
        &mut self,
        raster: &Raster,
        kind: Kind,
        source: Region,
        target: Size,
    ) -> Result<Vec<u8>, Error> {
        let pixel_type = match raster.channels {
            1 => PixelType::U8,
            2 => PixelType::U8x2,
            3 => PixelType::U8x3,
            _ => PixelType::U8x4,
        };
        let filter = match kind {
            Kind::Opaque | Kind::WithAlpha => FilterType::Lanczos3,
            Kind::Difference => FilterType::CatmullRom,
        };
        let found = raster.locate(source);
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(filter))
            .crop(found.x, found.y, found.width, found.height)
            .use_alpha(kind == Kind::WithAlpha);
        let Size { width, height } = raster.size;
        let from = ImageRef::new(raster.stride, height, &raster.samples, pixel_type)
            .map_err(|error| Error::Internal(error.into()))?;
        let from = CroppedImage::new(&from, 0, 0, width, height)
            .map_err(|error| Error::Internal(error.into()))?;
        let mut to = Image::new(target.width, target.height, pixel_type);
        self.inner
            .resize(&from, &mut to, &options)
            .map_err(|error| Error::Internal(error.into()))?;
        Ok(to.into_vec())
    }
}
