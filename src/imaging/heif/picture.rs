//! Pictures that libheif has decoded: planes, and what their numbers mean.

#![expect(
    unsafe_code,
    reason = "calls of a C library; each block says why its arguments are right"
)]

use std::ptr;
use std::ptr::NonNull;

use libheif_sys as sys;

use crate::imaging::heif::library::check;

/// Code points of an encoding, as by ITU-T H.273.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct CodePoints {
    /// `ColourPrimaries`.
    pub primaries: u16,
    /// `TransferCharacteristics`.
    pub transfer: u16,
    /// `MatrixCoefficients`.
    pub matrix: u16,
    /// `VideoFullRangeFlag`.
    pub full_range: bool,
}

/// Copies code points and frees libheif's.
///
/// # Safety
///
/// `pointer` is null or was given by libheif to be freed by its receiver.
pub(super) unsafe fn code_points(pointer: *mut sys::heif_color_profile_nclx) -> Option<CodePoints> {
    // SAFETY: by this function's contract.
    let nclx = unsafe { pointer.as_ref() }?;
    let code_point = |value| u16::try_from(value).unwrap_or(0);
    let copy = CodePoints {
        primaries: code_point(nclx.color_primaries),
        transfer: code_point(nclx.transfer_characteristics),
        matrix: code_point(nclx.matrix_coefficients),
        full_range: nclx.full_range_flag != 0,
    };
    // SAFETY: by this function's contract; not used again.
    unsafe { sys::heif_nclx_color_profile_free(pointer) };
    Some(copy)
}

/// The planes that a picture may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Channel {
    /// Luma.
    Y,
    /// Blue's difference to luma.
    Cb,
    /// Red's difference to luma.
    Cr,
    /// Red.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
    /// Transparency.
    Alpha,
}

impl Channel {
    const fn code(self) -> sys::heif_channel {
        match self {
            Self::Y => sys::heif_channel_heif_channel_Y,
            Self::Cb => sys::heif_channel_heif_channel_Cb,
            Self::Cr => sys::heif_channel_heif_channel_Cr,
            Self::Red => sys::heif_channel_heif_channel_R,
            Self::Green => sys::heif_channel_heif_channel_G,
            Self::Blue => sys::heif_channel_heif_channel_B,
            Self::Alpha => sys::heif_channel_heif_channel_Alpha,
        }
    }
}

/// A decoded image or tile.
pub(super) struct Picture(NonNull<sys::heif_image>);

impl Picture {
    /// Takes over a picture that libheif gave.
    pub(super) const fn new(pointer: NonNull<sys::heif_image>) -> Self {
        Self(pointer)
    }

    /// One plane, if there is such a one.
    pub(super) fn plane(&self, channel: Channel) -> Option<Plane<'_>> {
        let (picture, code) = (self.0.as_ptr(), channel.code());
        let mut stride = 0;
        // SAFETY: the picture is alive; the stride goes to a local variable.
        let (start, width, height, bits) = unsafe {
            (
                sys::heif_image_get_plane_readonly2(picture, code, &raw mut stride),
                sys::heif_image_get_width(picture, code),
                sys::heif_image_get_height(picture, code),
                sys::heif_image_get_bits_per_pixel_range(picture, code),
            )
        };
        let height = u32::try_from(height).ok()?;
        let length = stride.checked_mul(usize::try_from(height).ok()?)?;
        if start.is_null() {
            return None;
        }
        Some(Plane {
            width: u32::try_from(width).ok()?,
            height,
            bits: u32::try_from(bits).ok()?,
            stride,
            // SAFETY: libheif allocates `height` rows of `stride` bytes; the slice cannot outlive the picture.
            bytes: unsafe { std::slice::from_raw_parts(start, length) },
        })
    }

    /// The code points of the coded data.
    pub(super) fn code_points(&self) -> Option<CodePoints> {
        let mut nclx = ptr::null_mut();
        // SAFETY: the picture is alive; the result goes to a local variable and is ours to free.
        unsafe {
            let picture = self.0.as_ptr();
            check(sys::heif_image_get_nclx_color_profile(
                picture,
                &raw mut nclx,
            ))
            .ok()?;
            code_points(nclx)
        }
    }

    /// The ICC profile that came with the tile, if there is one.
    pub(super) fn icc_profile(&self) -> Option<Vec<u8>> {
        let picture = self.0.as_ptr();
        // SAFETY: the picture is alive.
        let length = unsafe { sys::heif_image_get_raw_color_profile_size(picture) };
        let mut profile = vec![0; length];
        if profile.is_empty() {
            return None;
        }
        // SAFETY: the picture is alive; the buffer has the length that was asked for.
        let error =
            unsafe { sys::heif_image_get_raw_color_profile(picture, profile.as_mut_ptr().cast()) };
        check(error).is_ok().then_some(profile)
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: released once, here.
        unsafe { sys::heif_image_release(self.0.as_ptr()) }
    }
}

/// Samples of one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane<'a> {
    /// Samples of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bits of a sample; more than 8 are stored in two bytes of the machine's order.
    pub bits: u32,
    stride: usize,
    bytes: &'a [u8],
}

impl<'a> Plane<'a> {
    /// A row of samples.
    #[cfg(test)]
    pub(super) fn of(bytes: &'a [u8], width: u32, bits: u32) -> Self {
        Self {
            width,
            height: 1,
            bits,
            stride: bytes.len(),
            bytes,
        }
    }

    /// The bytes of a row's samples; none beyond the last row.
    pub(super) fn row(&self, y: u32) -> &'a [u8] {
        let bytes = if self.bits > 8 { 2 } else { 1 };
        let index = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let start = index(y).saturating_mul(self.stride);
        let length = index(self.width).saturating_mul(bytes);
        let row = self.bytes.get(start..).and_then(|rest| rest.get(..length));
        row.unwrap_or_default()
    }
}
