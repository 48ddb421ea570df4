//! The HEVC decoder of `FFmpeg`: one coded picture in, its planes out.
//!
//! The only file that calls libavcodec. It uses what is the same in every version of it: names (of the codec, of options,
//! of pixel formats), and of the structures only the beginning of a frame. `abi.c` has the compiler of the headers prove
//! that, and the signatures, when the feature is built.

#![expect(
    unsafe_code,
    reason = "calls of a C library; each block says why its arguments are right"
)]

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::ptr;
use std::ptr::NonNull;
use std::sync::Once;

/// Zeros that the decoder wants behind its input, which it reads in large steps. Source: `AV_INPUT_BUFFER_PADDING_SIZE`.
const PADDING_BYTES: usize = 64;

/// Nothing is to be written to standard error. Source: `AV_LOG_QUIET`.
const LOG_QUIET: c_int = -8;

/// Source: `AVCOL_RANGE_JPEG`.
const RANGE_FULL: i64 = 2;

#[repr(C)]
struct Codec {
    _opaque: [u8; 0],
}

#[repr(C)]
struct CodecContext {
    _opaque: [u8; 0],
}

#[repr(C)]
struct Packet {
    _opaque: [u8; 0],
}

/// The beginning of `AVFrame`.
#[repr(C)]
struct FrameHead {
    data: [*mut u8; 8],
    linesize: [c_int; 8],
    extended_data: *mut *mut u8,
    width: c_int,
    height: c_int,
    nb_samples: c_int,
    format: c_int,
}

unsafe extern "C" {
    fn avcodec_find_decoder_by_name(name: *const c_char) -> *const Codec;
    fn avcodec_alloc_context3(codec: *const Codec) -> *mut CodecContext;
    fn avcodec_free_context(context: *mut *mut CodecContext);
    fn avcodec_open2(
        context: *mut CodecContext,
        codec: *const Codec,
        options: *mut *mut c_void,
    ) -> c_int;
    fn avcodec_send_packet(context: *mut CodecContext, packet: *const Packet) -> c_int;
    fn avcodec_receive_frame(context: *mut CodecContext, frame: *mut FrameHead) -> c_int;
    fn av_packet_alloc() -> *mut Packet;
    fn av_packet_free(packet: *mut *mut Packet);
    fn av_packet_from_data(packet: *mut Packet, data: *mut u8, size: c_int) -> c_int;
    fn av_frame_alloc() -> *mut FrameHead;
    fn av_frame_free(frame: *mut *mut FrameHead);
    fn av_mallocz(size: usize) -> *mut c_void;
    fn av_free(pointer: *mut c_void);
    fn av_log_set_level(level: c_int);
    fn av_opt_set(
        object: *mut c_void,
        name: *const c_char,
        value: *const c_char,
        flags: c_int,
    ) -> c_int;
    fn av_opt_set_int(object: *mut c_void, name: *const c_char, value: i64, flags: c_int) -> c_int;
    fn av_opt_get_int(
        object: *mut c_void,
        name: *const c_char,
        flags: c_int,
        value: *mut i64,
    ) -> c_int;
    fn av_get_pix_fmt_name(format: c_int) -> *const c_char;
}

/// Why there is no picture, in words of our own: libavcodec's go to its log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Declined(pub &'static CStr);

const NO_MEMORY: Declined = Declined(c"libavcodec has no memory");
const NO_DECODER: Declined = Declined(c"libavcodec has no HEVC decoder");
const DAMAGED: Declined = Declined(c"libavcodec cannot decode the picture");
const UNUSUAL: Declined = Declined(c"libavcodec delivers an unusual kind of picture");

impl Declined {
    /// Whether another decoder may be able to decode the picture: it is not damage.
    pub(super) fn is_of_support(self) -> bool {
        [NO_DECODER, UNUSUAL].contains(&self)
    }
}

/// How many luma samples share one of a colour difference.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sampling {
    /// There are no colour differences.
    Monochrome,
    /// Two by two.
    Quarter,
    /// Two in a row.
    Half,
    /// Each has its own. Also green, blue and red, in this order.
    Full,
}

/// What the coded data says of its colours; numbers as by ITU-T H.273.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Colors {
    /// `ColourPrimaries`.
    pub primaries: u16,
    /// `TransferCharacteristics`.
    pub transfer: u16,
    /// `MatrixCoefficients`.
    pub matrix: u16,
    /// `VideoFullRangeFlag`.
    pub full_range: bool,
}

/// A decoder for one picture, in the calling thread.
pub(super) struct Decoder(NonNull<CodecContext>);

impl Decoder {
    /// A decoder that takes pictures of so many pixels, stops at the first error and cuts edges off exactly.
    pub(super) fn open(pixels_max: u64) -> Result<Self, Declined> {
        static QUIET: Once = Once::new();
        // SAFETY: takes a number.
        QUIET.call_once(|| unsafe { av_log_set_level(LOG_QUIET) });
        // SAFETY: the name ends with a zero; the result is static, and checked.
        let codec = unsafe { avcodec_find_decoder_by_name(c"hevc".as_ptr()) };
        if codec.is_null() {
            return Err(NO_DECODER);
        }
        // SAFETY: the codec is not null; the result is checked.
        let context = NonNull::new(unsafe { avcodec_alloc_context3(codec) }).ok_or(NO_MEMORY)?;
        let decoder = Self(context);
        decoder.set_number(c"threads", 1)?;
        decoder.set_number(c"max_pixels", i64::try_from(pixels_max).unwrap_or(i64::MAX))?;
        decoder.set(c"err_detect", c"crccheck+explode")?;
        // Otherwise the left edge is cut where it suits the processor.
        decoder.set(c"flags", c"+unaligned")?;
        // SAFETY: both are alive and belong together; no options are given.
        let outcome = unsafe { avcodec_open2(context.as_ptr(), codec, ptr::null_mut()) };
        if outcome < 0 {
            return Err(NO_DECODER);
        }
        Ok(decoder)
    }

    fn set_number(&self, name: &CStr, value: i64) -> Result<(), Declined> {
        // SAFETY: the context is alive; the name ends with a zero.
        let outcome = unsafe { av_opt_set_int(self.0.as_ptr().cast(), name.as_ptr(), value, 0) };
        if outcome < 0 { Err(NO_DECODER) } else { Ok(()) }
    }

    fn set(&self, name: &CStr, value: &CStr) -> Result<(), Declined> {
        let context = self.0.as_ptr().cast();
        // SAFETY: the context is alive; both texts end with a zero.
        let outcome = unsafe { av_opt_set(context, name.as_ptr(), value.as_ptr(), 0) };
        if outcome < 0 { Err(NO_DECODER) } else { Ok(()) }
    }

    fn number(&self, name: &CStr) -> i64 {
        let mut value = 0;
        let context = self.0.as_ptr().cast();
        // SAFETY: the context is alive; the name ends with a zero; the result goes to a local variable.
        let outcome = unsafe { av_opt_get_int(context, name.as_ptr(), 0, &raw mut value) };
        if outcome < 0 { 0 } else { value }
    }

    /// Decodes one picture: parameter sets and slices, each behind a start code.
    pub(super) fn decode(&mut self, picture: &[u8]) -> Result<Frame, Declined> {
        let packet = OwnedPacket::holding(picture)?;
        let context = self.0.as_ptr();
        let frame = Frame::empty()?;
        // SAFETY: context, packet and frame are alive; a null packet means the end of the data.
        let is_decoded = unsafe {
            avcodec_send_packet(context, packet.0.as_ptr()) >= 0
                && avcodec_send_packet(context, ptr::null()) >= 0
                && avcodec_receive_frame(context, frame.0.as_ptr()) >= 0
        };
        if is_decoded { Ok(frame) } else { Err(DAMAGED) }
    }

    /// What the coded data has said of its colours.
    pub(super) fn colors(&self) -> Colors {
        let code_point = |name| u16::try_from(self.number(name)).unwrap_or(0);
        Colors {
            primaries: code_point(c"color_primaries"),
            transfer: code_point(c"color_trc"),
            matrix: code_point(c"colorspace"),
            full_range: self.number(c"color_range") == RANGE_FULL,
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let mut pointer = self.0.as_ptr();
        // SAFETY: freed once, here.
        unsafe { avcodec_free_context(&raw mut pointer) }
    }
}

struct OwnedPacket(NonNull<Packet>);

impl OwnedPacket {
    /// A packet with a copy of the data.
    fn holding(data: &[u8]) -> Result<Self, Declined> {
        let size = c_int::try_from(data.len()).map_err(|_| NO_MEMORY)?;
        let padded = data.len().checked_add(PADDING_BYTES).ok_or(NO_MEMORY)?;
        // SAFETY: takes nothing; the result is checked.
        let packet = Self(NonNull::new(unsafe { av_packet_alloc() }).ok_or(NO_MEMORY)?);
        // SAFETY: takes a number; the result is checked, and zeros as far as it goes.
        let copy = NonNull::new(unsafe { av_mallocz(padded) }).ok_or(NO_MEMORY)?;
        let copy = copy.as_ptr().cast::<u8>();
        // SAFETY: the copy is longer than the data. The packet takes it over unless it tells an error.
        unsafe {
            ptr::copy_nonoverlapping(data.as_ptr(), copy, data.len());
            if av_packet_from_data(packet.0.as_ptr(), copy, size) < 0 {
                av_free(copy.cast());
                return Err(NO_MEMORY);
            }
        }
        Ok(packet)
    }
}

impl Drop for OwnedPacket {
    fn drop(&mut self) {
        let mut pointer = self.0.as_ptr();
        // SAFETY: freed once, here, with what it holds.
        unsafe { av_packet_free(&raw mut pointer) }
    }
}

/// A decoded picture.
pub(super) struct Frame(NonNull<FrameHead>);

impl Frame {
    fn empty() -> Result<Self, Declined> {
        // SAFETY: takes nothing; the result is checked.
        NonNull::new(unsafe { av_frame_alloc() })
            .map(Self)
            .ok_or(NO_MEMORY)
    }

    fn head(&self) -> &FrameHead {
        // SAFETY: alive as long as `self`; `abi.c` has proved the layout.
        unsafe { self.0.as_ref() }
    }

    /// Width and height of luma, in samples.
    pub(super) fn size(&self) -> (c_int, c_int) {
        (self.head().width, self.head().height)
    }

    /// Sampling and bits of a sample.
    pub(super) fn kind(&self) -> Result<(Sampling, u8), Declined> {
        // SAFETY: takes a number; the result is checked.
        let name = unsafe { av_get_pix_fmt_name(self.head().format) };
        if name.is_null() {
            return Err(UNUSUAL);
        }
        // SAFETY: not null, static, and ends with a zero.
        kind(unsafe { CStr::from_ptr(name) }).ok_or(UNUSUAL)
    }

    /// A row of a plane: so many bytes. `None` beyond the planes that the picture has.
    ///
    /// # Safety
    ///
    /// The plane has that row, and the row so many bytes.
    pub(super) unsafe fn row(&self, plane: usize, y: usize, length: usize) -> Option<&[u8]> {
        let head = self.head();
        let start = head.data.get(plane).filter(|start| !start.is_null())?;
        let stride = isize::try_from(*head.linesize.get(plane)?).ok()?;
        let offset = isize::try_from(y).ok()?.checked_mul(stride)?;
        // SAFETY: by this function's contract; the frame's memory cannot be freed while it is borrowed.
        Some(unsafe { std::slice::from_raw_parts(start.offset(offset), length) })
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut pointer = self.0.as_ptr();
        // SAFETY: freed once, here.
        unsafe { av_frame_free(&raw mut pointer) }
    }
}

/// The meaning of a pixel format's name: `yuv420p`, `gray10le`. A J only says that the range is full, which stands
/// elsewhere, too.
fn kind(name: &CStr) -> Option<(Sampling, u8)> {
    let name = name.to_str().ok()?;
    let native = if cfg!(target_endian = "big") {
        "be"
    } else {
        "le"
    };
    let (name, is_wide) = match name.strip_suffix(native) {
        Some(name) => (name, true),
        None => (name, false),
    };
    let known = [
        ("gray", Sampling::Monochrome),
        ("yuv420p", Sampling::Quarter),
        ("yuvj420p", Sampling::Quarter),
        ("yuv422p", Sampling::Half),
        ("yuvj422p", Sampling::Half),
        ("yuv444p", Sampling::Full),
        ("yuvj444p", Sampling::Full),
        ("gbrp", Sampling::Full),
    ];
    known.into_iter().find_map(|(family, sampling)| {
        let bits = match (name.strip_prefix(family)?, is_wide) {
            ("", false) => 8,
            (bits, true) => bits.parse().ok().filter(|bits| (9..=16).contains(bits))?,
            _ => return None,
        };
        Some((sampling, bits))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_formats_are_known_by_name() {
        assert_eq!(kind(c"yuvj420p"), Some((Sampling::Quarter, 8)));
        assert_eq!(kind(c"yuv422p12le"), Some((Sampling::Half, 12)));
        assert_eq!(kind(c"gray10le"), Some((Sampling::Monochrome, 10)));
        assert_eq!(kind(c"gbrp"), Some((Sampling::Full, 8)));
        for unusual in [c"yuv420p10be", c"nv12", c"gbrap", c"rgb24", c"yuv420p99le"] {
            assert_eq!(kind(unusual), None, "{unusual:?}");
        }
    }

    #[test]
    fn decoder_declines_what_is_no_picture() {
        for data in [&b""[..], b"\0\0\0\x01", b"\0\0\0\x01\x40\x01nonsense"] {
            let mut decoder = Decoder::open(1_000_000).unwrap();

            assert_eq!(decoder.decode(data).err(), Some(DAMAGED));
        }
    }
}
