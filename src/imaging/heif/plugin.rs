//! libavcodec as a decoder of libheif: a table of functions that libheif calls for each coded picture.
//!
//! libheif-sys does not know the table; `abi.c` proves the layout. Each function is called by libheif alone, with the
//! decoder that [`new_decoder`] made.

#![expect(
    unsafe_code,
    reason = "called by a C library; each block says what that library promises"
)]

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::ptr;
use std::slice;

use libheif_sys as sys;

use crate::imaging::heif::libavcodec::Colors;
use crate::imaging::heif::libavcodec::Declined;
use crate::imaging::heif::libavcodec::Decoder;
use crate::imaging::heif::libavcodec::Frame;
use crate::imaging::heif::libavcodec::Sampling;
use crate::imaging::heif::library::Refusal;
use crate::imaging::heif::library::check;
use crate::imaging::heif::library::present;

/// Name under which decoding options ask for this decoder.
pub(super) const ID: &CStr = c"libavcodec";

/// Which version of the table this is. Source: `heif_plugin.h`.
const VERSION: c_int = 6;

/// Below libde265's 100: whoever asks for no decoder by name gets that one.
const PRIORITY: c_int = 1;

/// What stands before each unit of a coded picture. Source: ITU-T H.265, annex B.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// `heif_decoder_plugin_options`.
#[repr(C)]
struct Options {
    format: c_int,
    strict_decoding: c_int,
    num_threads: c_int,
    limits: *const sys::heif_security_limits,
}

/// `heif_decoder_plugin`.
#[repr(C)]
struct Table {
    version: c_int,
    name: extern "C" fn() -> *const c_char,
    init: Option<extern "C" fn()>,
    deinit: Option<extern "C" fn()>,
    does_support: extern "C" fn(sys::heif_compression_format) -> c_int,
    new_decoder_v1: unsafe extern "C" fn(*mut *mut c_void) -> sys::heif_error,
    free_decoder: unsafe extern "C" fn(*mut c_void),
    push_v1: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> sys::heif_error,
    decode_v1: unsafe extern "C" fn(*mut c_void, *mut *mut sys::heif_image) -> sys::heif_error,
    set_strict: extern "C" fn(*mut c_void, c_int),
    id: *const c_char,
    decode_v4: unsafe extern "C" fn(
        *mut c_void,
        *mut *mut sys::heif_image,
        *const sys::heif_security_limits,
    ) -> sys::heif_error,
    library_version_min: u32,
    does_support_v5: unsafe extern "C" fn(*const sys::heif_compression_format) -> c_int,
    new_decoder: unsafe extern "C" fn(*mut *mut c_void, *const Options) -> sys::heif_error,
    push: unsafe extern "C" fn(*mut c_void, *const c_void, usize, usize) -> sys::heif_error,
    flush: extern "C" fn(*mut c_void) -> sys::heif_error,
    decode: unsafe extern "C" fn(
        *mut c_void,
        *mut *mut sys::heif_image,
        *mut usize,
        *const sys::heif_security_limits,
    ) -> sys::heif_error,
}

// SAFETY: never changes; the only pointer in it is to a static text.
unsafe impl Sync for Table {}

static TABLE: Table = Table {
    version: VERSION,
    name,
    init: None,
    deinit: None,
    does_support,
    new_decoder_v1,
    free_decoder,
    push_v1,
    decode_v1,
    set_strict,
    id: ID.as_ptr(),
    decode_v4,
    library_version_min: 0,
    does_support_v5,
    new_decoder,
    push,
    flush,
    decode,
};

/// Makes the decoder known to libheif, which must be initialised and stay so.
///
/// # Errors
///
/// [`Refusal`] if this libheif does not know the table's version.
pub(super) fn register() -> Result<(), Refusal> {
    // SAFETY: the table is static and laid out as libheif wants it.
    check(unsafe { sys::heif_register_decoder_plugin((&raw const TABLE).cast()) })
}

/// What is pushed is collected, and decoded when it is asked for.
struct Pending {
    pixels_max: u64,
    /// Units of the picture, each behind a start code.
    data: Vec<u8>,
}

fn done() -> sys::heif_error {
    sys::heif_error {
        code: sys::heif_error_code_heif_error_Ok,
        subcode: sys::heif_suberror_code_heif_suberror_Unspecified,
        message: c"Success".as_ptr(),
    }
}

fn failed(message: &'static CStr) -> sys::heif_error {
    refusal(
        sys::heif_error_code_heif_error_Decoder_plugin_error,
        message,
    )
}

fn declined(declined: Declined) -> sys::heif_error {
    let code = if declined.is_of_support() {
        sys::heif_error_code_heif_error_Unsupported_feature
    } else {
        sys::heif_error_code_heif_error_Decoder_plugin_error
    };
    refusal(code, declined.0)
}

fn refusal(code: sys::heif_error_code, message: &'static CStr) -> sys::heif_error {
    sys::heif_error {
        code,
        subcode: sys::heif_suberror_code_heif_suberror_Unspecified,
        message: message.as_ptr(),
    }
}

extern "C" fn name() -> *const c_char {
    ID.as_ptr()
}

extern "C" fn does_support(format: sys::heif_compression_format) -> c_int {
    if format == sys::heif_compression_format_heif_compression_HEVC {
        PRIORITY
    } else {
        0
    }
}

unsafe extern "C" fn does_support_v5(description: *const sys::heif_compression_format) -> c_int {
    // SAFETY: libheif gives a description, which begins with the format.
    unsafe { description.as_ref() }.map_or(0, |format| does_support(*format))
}

unsafe extern "C" fn new_decoder(
    decoder: *mut *mut c_void,
    options: *const Options,
) -> sys::heif_error {
    // SAFETY: libheif gives its options, and in them null or limits that outlive the decoder.
    let limits = unsafe { options.as_ref().and_then(|options| options.limits.as_ref()) };
    let pending = Pending {
        pixels_max: limits.map_or(u64::MAX, |limits| limits.max_image_size_pixels),
        data: Vec::new(),
    };
    // SAFETY: libheif gives a place for the pointer, and it back to `free_decoder`.
    unsafe { *decoder = Box::into_raw(Box::new(pending)).cast() };
    done()
}

unsafe extern "C" fn new_decoder_v1(decoder: *mut *mut c_void) -> sys::heif_error {
    // SAFETY: as for the newer function; no options are allowed there.
    unsafe { new_decoder(decoder, ptr::null()) }
}

unsafe extern "C" fn free_decoder(decoder: *mut c_void) {
    // SAFETY: made by `new_decoder`, and not used again.
    drop(unsafe { Box::from_raw(decoder.cast::<Pending>()) });
}

unsafe extern "C" fn push(
    decoder: *mut c_void,
    data: *const c_void,
    size: usize,
    _user_data: usize,
) -> sys::heif_error {
    // SAFETY: made by `new_decoder`; libheif uses a decoder in one thread at a time.
    let pending = unsafe { &mut *decoder.cast::<Pending>() };
    if data.is_null() {
        return failed(c"no data");
    }
    // SAFETY: libheif gives so many bytes.
    let data = unsafe { slice::from_raw_parts(data.cast::<u8>(), size) };
    match append_units(&mut pending.data, data) {
        Some(()) => done(),
        None => failed(c"a unit of the picture is longer than its data"),
    }
}

unsafe extern "C" fn push_v1(
    decoder: *mut c_void,
    data: *const c_void,
    size: usize,
) -> sys::heif_error {
    // SAFETY: as for the newer function.
    unsafe { push(decoder, data, size, 0) }
}

extern "C" fn flush(_decoder: *mut c_void) -> sys::heif_error {
    done()
}

extern "C" fn set_strict(_decoder: *mut c_void, _strict: c_int) {
    // Always is.
}

unsafe extern "C" fn decode(
    decoder: *mut c_void,
    image: *mut *mut sys::heif_image,
    _user_data: *mut usize,
    limits: *const sys::heif_security_limits,
) -> sys::heif_error {
    // SAFETY: made by `new_decoder`; libheif uses a decoder in one thread at a time.
    let pending = unsafe { &mut *decoder.cast::<Pending>() };
    // SAFETY: libheif gives a place for the image.
    unsafe { *image = ptr::null_mut() };
    // A second call is for a second image, which there is not.
    let data = std::mem::take(&mut pending.data);
    if data.is_empty() {
        return done();
    }
    let made = Decoder::open(pending.pixels_max).and_then(|mut decoder| {
        let frame = decoder.decode(&data)?;
        copied(&frame, decoder.colors(), limits)
    });
    match made {
        Ok(made) => {
            // SAFETY: as above; libheif takes the image over.
            unsafe { *image = made.into_raw() };
            done()
        }
        Err(error) => declined(error),
    }
}

unsafe extern "C" fn decode_v4(
    decoder: *mut c_void,
    image: *mut *mut sys::heif_image,
    limits: *const sys::heif_security_limits,
) -> sys::heif_error {
    // SAFETY: as for the newer function.
    unsafe { decode(decoder, image, ptr::null_mut(), limits) }
}

unsafe extern "C" fn decode_v1(
    decoder: *mut c_void,
    image: *mut *mut sys::heif_image,
) -> sys::heif_error {
    // SAFETY: as for the newer function; the library always has limits.
    unsafe { decode_v4(decoder, image, sys::heif_get_global_security_limits()) }
}

/// From units behind their lengths to units behind start codes. `None` if one is cut off.
fn append_units(to: &mut Vec<u8>, mut data: &[u8]) -> Option<()> {
    to.reserve(data.len());
    while !data.is_empty() {
        let (length, rest) = data.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (unit, rest) = rest.split_at_checked(length)?;
        to.extend_from_slice(&START_CODE);
        to.extend_from_slice(unit);
        data = rest;
    }
    Some(())
}

/// An image of libheif's that is being made.
struct Image(*mut sys::heif_image);

impl Image {
    /// Gives the image to libheif.
    fn into_raw(self) -> *mut sys::heif_image {
        let pointer = self.0;
        std::mem::forget(self);
        pointer
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: released once, here; null is allowed.
        unsafe { sys::heif_image_release(self.0) }
    }
}

const NO_ROOM: Declined = Declined(c"libheif has no room for the picture");

fn copied(
    frame: &Frame,
    colors: Colors,
    limits: *const sys::heif_security_limits,
) -> Result<Image, Declined> {
    let (width, height) = frame.size();
    let (sampling, bits) = frame.kind()?;
    let (color_space, chroma, across, down) = match sampling {
        Sampling::Monochrome => (
            sys::heif_colorspace_heif_colorspace_monochrome,
            sys::heif_chroma_heif_chroma_planar,
            1,
            1,
        ),
        Sampling::Quarter => (
            sys::heif_colorspace_heif_colorspace_YCbCr,
            sys::heif_chroma_heif_chroma_420,
            2,
            2,
        ),
        Sampling::Half => (
            sys::heif_colorspace_heif_colorspace_YCbCr,
            sys::heif_chroma_heif_chroma_422,
            2,
            1,
        ),
        Sampling::Full => (
            sys::heif_colorspace_heif_colorspace_YCbCr,
            sys::heif_chroma_heif_chroma_444,
            1,
            1,
        ),
    };
    let mut image = Image(ptr::null_mut());
    // SAFETY: the result goes to a local variable.
    check(unsafe { sys::heif_image_create(width, height, color_space, chroma, &raw mut image.0) })
        .map_err(|_| NO_ROOM)?;
    let planes = [
        (sys::heif_channel_heif_channel_Y, 1, 1),
        (sys::heif_channel_heif_channel_Cb, across, down),
        (sys::heif_channel_heif_channel_Cr, across, down),
    ];
    let count = if sampling == Sampling::Monochrome {
        1
    } else {
        3
    };
    for (nth, (channel, across, down)) in planes.into_iter().take(count).enumerate() {
        let size = (rounded_up(width, across), rounded_up(height, down));
        copy_plane(frame, nth, &image, channel, size, bits, limits)?;
    }
    describe(&image, colors).map_err(|_| NO_ROOM)?;
    Ok(image)
}

fn rounded_up(length: c_int, by: c_int) -> c_int {
    length
        .saturating_add(by)
        .saturating_sub(1)
        .checked_div(by)
        .unwrap_or(0)
}

fn copy_plane(
    frame: &Frame,
    nth: usize,
    image: &Image,
    channel: sys::heif_channel,
    (width, height): (c_int, c_int),
    bits: u8,
    limits: *const sys::heif_security_limits,
) -> Result<(), Declined> {
    let mut stride = 0;
    // SAFETY: the image is alive; the limits are libheif's own; the stride goes to a local variable.
    let start = unsafe {
        let added = sys::heif_image_add_plane_safe(
            image.0,
            channel,
            width,
            height,
            c_int::from(bits),
            limits,
        );
        check(added).map_err(|_| NO_ROOM)?;
        sys::heif_image_get_plane2(image.0, channel, &raw mut stride)
    };
    let start = present(start).map_err(|_| NO_ROOM)?;
    let bytes = if bits > 8 { 2 } else { 1 };
    let width = usize::try_from(width).map_err(|_| NO_ROOM)?;
    let height = usize::try_from(height).map_err(|_| NO_ROOM)?;
    let length = width.saturating_mul(bytes).min(stride);
    for y in 0..height {
        // SAFETY: a frame of this size and kind has so many rows of so many bytes in each of its planes.
        let row = unsafe { frame.row(nth, y, length) }.ok_or(NO_ROOM)?;
        // SAFETY: libheif has made room for `height` rows of `stride` bytes.
        unsafe {
            let to = start.as_ptr().add(y.saturating_mul(stride));
            ptr::copy_nonoverlapping(row.as_ptr(), to, row.len());
        }
    }
    Ok(())
}

/// Attaches what the coded data says of its colours. Numbers that libheif does not know are left unspecified.
fn describe(image: &Image, colors: Colors) -> Result<(), Refusal> {
    // SAFETY: takes nothing; the result is checked, used while it is alive, and freed.
    unsafe {
        let mut nclx = present(sys::heif_nclx_color_profile_alloc())?;
        let pointer = nclx.as_ptr();
        // What these return is an error for a number that is not known; then they have set that for "unspecified".
        sys::heif_nclx_color_profile_set_color_primaries(pointer, colors.primaries);
        sys::heif_nclx_color_profile_set_transfer_characteristics(pointer, colors.transfer);
        sys::heif_nclx_color_profile_set_matrix_coefficients(pointer, colors.matrix);
        nclx.as_mut().full_range_flag = u8::from(colors.full_range);
        let outcome = check(sys::heif_image_set_nclx_color_profile(image.0, pointer));
        sys::heif_nclx_color_profile_free(pointer);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_behind_start_codes() {
        let mut units = Vec::new();

        append_units(&mut units, b"\0\0\0\x02ab\0\0\0\x01c").unwrap();

        assert_eq!(units, b"\0\0\0\x01ab\0\0\0\x01c");
        for cut in [&b"\0\0\0"[..], b"\0\0\0\x02a", b"\xFF\xFF\xFF\xFFab"] {
            assert_eq!(append_units(&mut Vec::new(), cut), None);
        }
    }

    #[test]
    fn code_points_that_libheif_does_not_know_are_unspecified() {
        let mut image = Image(ptr::null_mut());
        let (space, chroma) = (
            sys::heif_colorspace_heif_colorspace_monochrome,
            sys::heif_chroma_heif_chroma_planar,
        );
        let colors = Colors {
            primaries: 3,
            transfer: 0,
            matrix: 99,
            full_range: false,
        };
        let mut nclx = ptr::null_mut();
        // SAFETY: the result goes to a local variable.
        check(unsafe { sys::heif_image_create(1, 1, space, chroma, &raw mut image.0) }).unwrap();

        describe(&image, colors).unwrap();

        // SAFETY: the image is alive; the result goes to a local variable and is ours to free.
        let told = unsafe {
            check(sys::heif_image_get_nclx_color_profile(
                image.0,
                &raw mut nclx,
            ))
            .unwrap();
            let told = &*nclx;
            let told = (
                told.color_primaries,
                told.transfer_characteristics,
                told.matrix_coefficients,
                told.full_range_flag,
            );
            sys::heif_nclx_color_profile_free(nclx);
            told
        };
        assert_eq!(told, (2, 2, 2, 0));
    }
}
