//! Makes JPEG files of every kind that the decoder takes, and decodes them.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that miscounts fails"
)]
#![expect(
    unsafe_code,
    reason = "restart markers, which the safe wrapper cannot ask libjpeg-turbo for"
)]

use std::ptr;

use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::sample::select;
use turbojpeg::raw;

use crate::imaging::geometry::Region;
use crate::imaging::geometry::Size;
use crate::imaging::jpeg::Declined;
use crate::imaging::jpeg::Header;
use crate::imaging::jpeg::Scaled;
use crate::imaging::raster::Pixels;
use crate::imaging::raster::Raster;
use crate::imaging::raster::Request;

/// How a file is made.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub width: u16,
    pub height: u16,
    /// One of `TJSAMP`.
    pub subsamp: i32,
    pub quality: u8,
    pub progressive: bool,
    pub optimized: bool,
    /// MCUs between restart markers; 0: none.
    pub restart_interval: u16,
    /// What the pixels are made of.
    pub seed: u32,
}

/// Any file of a size up to `side_max`.
pub(super) fn recipe(side_max: u16) -> impl Strategy<Value = Recipe> {
    let subsamps = [
        raw::TJSAMP_TJSAMP_444,
        raw::TJSAMP_TJSAMP_422,
        raw::TJSAMP_TJSAMP_420,
        raw::TJSAMP_TJSAMP_440,
        raw::TJSAMP_TJSAMP_GRAY,
    ];
    let shape = (1..=side_max, 1..=side_max, select(subsamps.to_vec()));
    let coding = (30..=100_u8, any::<bool>(), any::<bool>());
    let restarts = select(vec![0, 0, 1, 2, 7, 30]);
    (shape, coding, restarts, any::<u32>()).prop_map(
        |((width, height, subsamp), (quality, progressive, optimized), restart_interval, seed)| {
            Recipe {
                width,
                height,
                subsamp,
                quality,
                progressive,
                optimized,
                restart_interval,
                seed,
            }
        },
    )
}

impl Recipe {
    /// Soft shapes, hard edges and noise: coefficients of all frequencies.
    fn rgb(&self) -> Vec<u8> {
        let mut state = self.seed | 1;
        let mut noise = move |limit: u32| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % limit
        };
        let (period, contrast) = (noise(50) + 3, noise(200));
        let mut pixels = Vec::new();
        for y in 0..u32::from(self.height) {
            for x in 0..u32::from(self.width) {
                let wave = (x * x / period + y * 3) % 256;
                let edge = if (x / period + y / period) % 2 == 0 {
                    contrast
                } else {
                    0
                };
                for channel in [wave, edge, wave.midpoint(edge)] {
                    let level = (channel + noise(40)).min(255);
                    pixels.push(u8::try_from(level).unwrap());
                }
            }
        }
        pixels
    }

    /// The file.
    pub(super) fn file(&self) -> Vec<u8> {
        let rgb = self.rgb();
        let (width, height) = (i32::from(self.width), i32::from(self.height));
        let parameters = [
            (raw::TJPARAM_TJPARAM_QUALITY, i32::from(self.quality)),
            (raw::TJPARAM_TJPARAM_SUBSAMP, self.subsamp),
            (
                raw::TJPARAM_TJPARAM_PROGRESSIVE,
                i32::from(self.progressive),
            ),
            (raw::TJPARAM_TJPARAM_OPTIMIZE, i32::from(self.optimized)),
            (
                raw::TJPARAM_TJPARAM_RESTARTBLOCKS,
                i32::from(self.restart_interval),
            ),
        ];
        let init = i32::try_from(raw::TJINIT_TJINIT_COMPRESS).unwrap();
        let format = raw::TJPF_TJPF_RGB;
        let (mut start, mut length) = (ptr::null_mut(), 0);
        // SAFETY: the pixels are as many as said; the file is libjpeg-turbo's until it is freed, after the copy.
        unsafe {
            let handle = raw::tj3Init(init);
            for (parameter, value) in parameters {
                let parameter = i32::try_from(parameter).unwrap();
                assert_eq!(raw::tj3Set(handle, parameter, value), 0);
            }
            let (pixels, pitch) = (rgb.as_ptr(), width * 3);
            let (start, length) = (&raw mut start, &raw mut length);
            let error =
                raw::tj3Compress8(handle, pixels, width, pitch, height, format, start, length);
            assert_eq!(error, 0);
            raw::tj3Destroy(handle);
        }
        // SAFETY: as above.
        unsafe {
            let length = usize::try_from(length).unwrap();
            let file = std::slice::from_raw_parts(start, length).to_vec();
            raw::tj3Free(start.cast());
            file
        }
    }
}

/// A request whose smaller side of the source becomes `side` pixels.
pub(super) fn request(source: Region, side: u32) -> Request {
    Request {
        source,
        target: Size::square(side),
    }
}

/// Decodes by our decoder: the planes.
pub(super) fn decode(file: &[u8], request: &Request) -> Result<Vec<Raster>, Declined> {
    let header = Header::read(file).unwrap();
    let decoded = Scaled::default().decode(file, &header, request)?;
    Ok(match decoded.pixels {
        Pixels::Planar(_, planes) => planes.to_vec(),
        Pixels::Interleaved(_, raster) | Pixels::Luma(_, raster) => vec![raster],
    })
}

/// The samples of a raster that lie in the picture, row by row.
pub(super) fn rows(raster: &Raster) -> Vec<&[u8]> {
    let index = |value: u32| usize::try_from(value).unwrap();
    let rows = raster.samples.chunks(index(raster.stride));
    let width = index(raster.size.width);
    rows.map(|row| &row[..width])
        .take(index(raster.size.height))
        .collect()
}
