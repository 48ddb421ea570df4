//! Decodes by libjpeg-turbo: everything that photos and old programs put into a JPEG file.

use turbojpeg::Colorspace;
use turbojpeg::DecompressHeader;
use turbojpeg::Decompressor;
use turbojpeg::Image;
use turbojpeg::PixelFormat;
use turbojpeg::ScalingFactor;
use turbojpeg::Subsamp;
use turbojpeg::YuvImage;

use crate::domain::picture::Format;
use crate::imaging::Damage;
use crate::imaging::Error;
use crate::imaging::geometry::Size;
use crate::imaging::jpeg::Header;
use crate::imaging::jpeg::LEFT_OF_LUMA;
use crate::imaging::jpeg::SCANS_MAX;
use crate::imaging::jpeg::eighths;
use crate::imaging::jpeg::stripped::Stripped;
use crate::imaging::luma::Matrix;
use crate::imaging::raster::Decoded;
use crate::imaging::raster::Model;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Placement;
use crate::imaging::raster::Raster;
use crate::imaging::raster::Request;

/// Complaint of libjpeg's about data after that of the last sample. Source: `jerror.h`.
const SUPERFLUOUS: &str = "extraneous bytes before marker";

/// The decoder. Keeps its handle for the next picture.
#[derive(Debug, Default)]
pub(in crate::imaging) struct Turbo {
    handle: Option<Decompressor>,
}

impl Turbo {
    /// Decodes all of a file, at the scale that the request needs.
    ///
    /// Coefficients that come in several scans are held until the last one is there. As many are accepted as pixels are, so
    /// fewer pixels in such a file: a quarter of inks, for example.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for damage that is visible, or would be elsewhere in the picture; [`Error::TooManyPixels`].
    pub(in crate::imaging) fn decode(
        &mut self,
        file: &[u8],
        header: &Header,
        request: &Request,
        pixels_max: u64,
    ) -> Result<Decoded, Error> {
        let malformed = |cause| Error::Malformed(Format::Jpeg, cause);
        // libjpeg never sees the metadata, nor complains about it.
        let file = Stripped::new(file);
        let file = file.ok_or_else(|| malformed(Damage("no end of image").into()))?;
        if file.coefficients > pixels_max {
            let Size { width, height } = header.size;
            let pixels = header.size.pixels();
            let part = u128::from(pixels).saturating_mul(pixels_max.into());
            let part = part.checked_div(file.coefficients.into());
            return Err(Error::TooManyPixels {
                width,
                height,
                pixels,
                pixels_max: part
                    .and_then(|part| part.try_into().ok())
                    .unwrap_or(pixels_max),
            });
        }
        // A handle that has seen an error is not used again.
        let mut handle = match self.handle.take() {
            Some(handle) => handle,
            None => Decompressor::new().map_err(|error| Error::Internal(error.into()))?,
        };
        let eighths = eighths(request.reduction(), LEFT_OF_LUMA);
        let pixels = decode(&mut handle, &file, eighths).map_err(malformed)?;
        self.handle = Some(handle);
        Ok(Decoded {
            pixels,
            profile: header.profile.clone(),
            deep: false,
            toned: false,
        })
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn decode(handle: &mut Decompressor, file: &Stripped, eighths: u8) -> Outcome<Pixels> {
    handle.set_scan_limit(SCANS_MAX)?;
    let factor = ScalingFactor::new(usize::from(eighths), 8);
    handle.set_scaling_factor(factor)?;
    let full = handle.read_header(&file.bytes)?;
    let scaled = full.scaled(factor);
    let interleaved = |handle: &mut Decompressor, format, model| {
        let raster = decode_interleaved(handle, file, scaled, format, eighths)?;
        Ok(Pixels::Interleaved(model, raster))
    };
    match (full.colorspace, full.subsamp) {
        (Colorspace::Gray, _) => interleaved(handle, PixelFormat::GRAY, Model::Gray),
        (Colorspace::CMYK | Colorspace::YCCK, _) => {
            let mut raster = decode_interleaved(handle, file, scaled, PixelFormat::CMYK, eighths)?;
            // 255 is no ink: Adobe's programs began it, and where their segment is missing somebody has taken it out.
            // Source: what Pillow and libvips show.
            raster.samples.iter_mut().for_each(|ink| *ink ^= 0xFF);
            Ok(Pixels::Interleaved(Model::Cmyk, raster))
        }
        (Colorspace::RGB, _) | (_, Subsamp::Unknown | Subsamp::Gray) => {
            interleaved(handle, PixelFormat::RGB, Model::Rgb)
        }
        (Colorspace::YCbCr, _) => decode_planar(handle, file, scaled, eighths),
    }
}

fn decode_interleaved(
    handle: &mut Decompressor,
    file: &Stripped,
    scaled: DecompressHeader,
    format: PixelFormat,
    eighths: u8,
) -> Outcome<Raster> {
    let pitch = scaled.width.saturating_mul(format.size());
    let mut samples = vec![0; pitch.saturating_mul(scaled.height)];
    let image = Image {
        pixels: samples.as_mut_slice(),
        width: scaled.width,
        pitch,
        height: scaled.height,
        format,
    };
    tolerate(handle.decompress(&file.bytes, image), file)?;
    let size = size(scaled.width, scaled.height)?;
    Ok(Raster {
        size,
        stride: size.width,
        channels: u8::try_from(format.size())?,
        samples,
        placement: placement(eighths, (1, 1)),
    })
}

fn decode_planar(
    handle: &mut Decompressor,
    file: &Stripped,
    scaled: DecompressHeader,
    eighths: u8,
) -> Outcome<Pixels> {
    let subsamp = scaled.subsamp;
    let length = turbojpeg::yuv_pixels_len(scaled.width, 1, scaled.height, subsamp)?;
    let mut image = YuvImage {
        pixels: vec![0; length],
        width: scaled.width,
        align: 1,
        height: scaled.height,
        subsamp,
    };
    let outcome = handle.decompress_to_yuv(&file.bytes, image.as_deref_mut());
    tolerate(outcome, file)?;
    let luma = image.y_size();
    let difference = image.uv_size();
    let coarse = (
        u32::try_from(subsamp.width())?,
        u32::try_from(subsamp.height())?,
    );
    let mut rest = image.pixels;
    let mut plane = |(width, height): (usize, usize), step| {
        let size = size(width, height)?;
        let next = rest.split_off(rest.len().min(width.saturating_mul(height)));
        Outcome::Ok(Raster {
            size,
            stride: size.width,
            channels: 1,
            samples: std::mem::replace(&mut rest, next),
            placement: placement(eighths, step),
        })
    };
    let planes = [
        plane(luma, (1, 1))?,
        plane(difference, coarse)?,
        plane(difference, coarse)?,
    ];
    Ok(Pixels::Planar(Matrix::JFIF, Box::new(planes)))
}

fn size(width: usize, height: usize) -> Outcome<Size> {
    Ok(Size {
        width: u32::try_from(width)?,
        height: u32::try_from(height)?,
    })
}

fn placement(eighths: u8, (width, height): (u32, u32)) -> Placement {
    Placement {
        origin: (0, 0),
        step: (
            width.saturating_mul(8),
            height.saturating_mul(8),
            u32::from(eighths),
        ),
    }
}

/// libjpeg decodes to the end whatever it complains about, and reports the first complaint. A harmless one is no error.
fn tolerate(outcome: turbojpeg::Result<()>, file: &Stripped) -> Outcome<()> {
    match outcome {
        Err(turbojpeg::Error::TurboJpegError(message))
            if message.contains(SUPERFLUOUS) && file.ends_with_its_data() =>
        {
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}
