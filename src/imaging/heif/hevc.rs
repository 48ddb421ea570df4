//! The decoders of HEVC below libheif: libde265 always, libavcodec where it was built in.

use std::ffi::CStr;

use crate::config::HevcDecoder;
use crate::imaging::Decoder;
use crate::imaging::heif::library::Refusal;
use crate::imaging::heif::whole;

/// A decoder of HEVC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Codec {
    /// The one that libheif was built with.
    Libde265,
    /// That of `FFmpeg`, a third faster.
    #[cfg(feature = "libavcodec")]
    Libavcodec,
}

impl Codec {
    /// Name under which libheif knows it.
    pub(super) const fn id(self) -> &'static CStr {
        match self {
            Self::Libde265 => whole::ID,
            #[cfg(feature = "libavcodec")]
            Self::Libavcodec => crate::imaging::heif::plugin::ID,
        }
    }

    /// What is told of a picture that it decoded.
    pub(super) const fn decoder(self) -> Decoder {
        match self {
            Self::Libde265 => Decoder::Libde265,
            #[cfg(feature = "libavcodec")]
            Self::Libavcodec => Decoder::Libavcodec,
        }
    }
}

/// The decoders to be tried, in order, for pictures with so many bits of luma and of colour differences. libavcodec has no
/// others than these, and takes them for damage.
#[cfg(feature = "libavcodec")]
pub(super) const fn codecs(choice: HevcDecoder, bits: (i32, i32)) -> &'static [Codec] {
    match choice {
        HevcDecoder::Auto if matches!(bits, (8, 8) | (9, 9) | (10, 10) | (12, 12)) => {
            &[Codec::Libavcodec, Codec::Libde265]
        }
        HevcDecoder::Libavcodec => &[Codec::Libavcodec],
        HevcDecoder::Auto | HevcDecoder::Libde265 => &[Codec::Libde265],
    }
}

/// The decoders to be tried. The configuration does not let libavcodec be asked for where it is not.
#[cfg(not(feature = "libavcodec"))]
pub(super) const fn codecs(choice: HevcDecoder, _bits: (i32, i32)) -> &'static [Codec] {
    match choice {
        HevcDecoder::Auto | HevcDecoder::Libde265 => &[Codec::Libde265],
        HevcDecoder::Libavcodec => &[],
    }
}

/// Makes all of them known to libheif, once.
pub(super) fn register() -> Result<(), Refusal> {
    whole::register()?;
    #[cfg(feature = "libavcodec")]
    crate::imaging::heif::plugin::register()?;
    Ok(())
}
