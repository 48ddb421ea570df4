//! An image of a file that libheif has not decoded yet: its tiles, its profile, and the decoding.

#![expect(
    unsafe_code,
    reason = "calls of a C library; each block says why its arguments are right"
)]

use std::ptr;
use std::ptr::NonNull;

use libheif_sys as sys;

use crate::imaging::heif::hevc::Codec;
use crate::imaging::heif::library::Refusal;
use crate::imaging::heif::library::check;
use crate::imaging::heif::library::present;
use crate::imaging::heif::picture::CodePoints;
use crate::imaging::heif::picture::Picture;
use crate::imaging::heif::picture::code_points;

/// Number of threads that makes libde265 decode in the calling one. libheif turns 0 into 1, and that one would be started,
/// woken and ended again for each tile: 1 to 4 % of the time. libde265 starts threads for positive numbers only.
const NO_THREADS: i32 = -1;

/// How an image is cut into tiles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tiling {
    /// Tiles from left to right.
    pub columns: u32,
    /// Tiles from top to bottom.
    pub rows: u32,
    /// Pixels of a tile from left to right.
    pub tile_width: u32,
    /// Pixels of a tile from top to bottom.
    pub tile_height: u32,
    /// Pixels of the image from left to right.
    pub width: u32,
    /// Pixels of the image from top to bottom.
    pub height: u32,
}

impl Tiling {
    /// Whether there is more than one tile.
    pub(super) const fn is_grid(&self) -> bool {
        self.columns > 1 || self.rows > 1
    }
}

/// What of an image is decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// The tile of this column and row, before any transformation.
    Tile(u32, u32),
    /// All, before any transformation.
    Stored,
    /// All, after the transformations of the image and of those that it is derived from.
    Shown,
}

/// An image of a file, not yet decoded.
pub(super) struct Handle(NonNull<sys::heif_image_handle>);

impl Handle {
    /// Takes over a handle that libheif gave.
    pub(super) const fn new(pointer: NonNull<sys::heif_image_handle>) -> Self {
        Self(pointer)
    }

    /// The number of the image among the file's items.
    pub(super) fn id(&self) -> sys::heif_item_id {
        // SAFETY: the handle is alive.
        unsafe { sys::heif_image_handle_get_item_id(self.0.as_ptr()) }
    }

    /// The tiles, before any transformation.
    pub(super) fn tiling(&self) -> Result<Tiling, Refusal> {
        let mut tiling = sys::heif_image_tiling {
            version: 1,
            num_columns: 0,
            num_rows: 0,
            tile_width: 0,
            tile_height: 0,
            image_width: 0,
            image_height: 0,
            top_offset: 0,
            left_offset: 0,
            number_of_extra_dimensions: 0,
            extra_dimension_size: [0; 8],
        };
        // SAFETY: the handle is alive; the structure is of the version that it says.
        check(unsafe {
            sys::heif_image_handle_get_image_tiling(self.0.as_ptr(), 0, &raw mut tiling)
        })?;
        Ok(Tiling {
            columns: tiling.num_columns,
            rows: tiling.num_rows,
            tile_width: tiling.tile_width,
            tile_height: tiling.tile_height,
            width: tiling.image_width,
            height: tiling.image_height,
        })
    }

    /// The whole image as a single tile, after all transformations.
    pub(super) fn one_tile_as_shown(&self) -> Tiling {
        let handle = self.0.as_ptr();
        // SAFETY: the handle is alive.
        let (width, height) = unsafe {
            (
                sys::heif_image_handle_get_width(handle),
                sys::heif_image_handle_get_height(handle),
            )
        };
        let [width, height] = [width, height].map(|side| u32::try_from(side).unwrap_or(0));
        Tiling {
            columns: 1,
            rows: 1,
            tile_width: width,
            tile_height: height,
            width,
            height,
        }
    }

    /// Bits of a sample of luma and of a colour difference, by the header. It has the latter for monochrome, too.
    pub(super) fn bits(&self) -> (i32, i32) {
        let handle = self.0.as_ptr();
        // SAFETY: the handle is alive.
        unsafe {
            (
                sys::heif_image_handle_get_luma_bits_per_pixel(handle),
                sys::heif_image_handle_get_chroma_bits_per_pixel(handle),
            )
        }
    }

    /// Whether there is transparency.
    pub(super) fn has_alpha(&self) -> bool {
        // SAFETY: the handle is alive.
        unsafe { sys::heif_image_handle_has_alpha_channel(self.0.as_ptr()) != 0 }
    }

    /// Whether colours are already multiplied by alpha.
    pub(super) fn is_premultiplied(&self) -> bool {
        // SAFETY: the handle is alive.
        unsafe { sys::heif_image_handle_is_premultiplied_alpha(self.0.as_ptr()) != 0 }
    }

    /// Whether metadata, thumbnails, depth maps or other images belong to this one.
    pub(super) fn has_company(&self) -> bool {
        let handle = self.0.as_ptr();
        // Bit 1: alpha does not count. Source: `heif_aux_images.h`.
        let filter = 1 << 1;
        // SAFETY: the handle is alive; a null filter means every kind of metadata.
        unsafe {
            sys::heif_image_handle_get_number_of_metadata_blocks(handle, ptr::null()) > 0
                || sys::heif_image_handle_get_number_of_thumbnails(handle) > 0
                || sys::heif_image_handle_get_number_of_auxiliary_images(handle, filter) > 0
        }
    }

    /// The ICC profile, if there is one.
    pub(super) fn icc_profile(&self) -> Option<Vec<u8>> {
        let handle = self.0.as_ptr();
        // SAFETY: the handle is alive.
        let length = unsafe { sys::heif_image_handle_get_raw_color_profile_size(handle) };
        let mut profile = vec![0; length];
        if profile.is_empty() {
            return None;
        }
        // SAFETY: the handle is alive; the buffer has the length that was asked for.
        let error = unsafe {
            sys::heif_image_handle_get_raw_color_profile(handle, profile.as_mut_ptr().cast())
        };
        check(error).is_ok().then_some(profile)
    }

    /// The code points that the container gives, if it does.
    pub(super) fn code_points(&self) -> Option<CodePoints> {
        let mut nclx = ptr::null_mut();
        // SAFETY: the handle is alive; the result goes to a local variable and is ours to free.
        unsafe {
            let handle = self.0.as_ptr();
            check(sys::heif_image_handle_get_nclx_color_profile(
                handle,
                &raw mut nclx,
            ))
            .ok()?;
            code_points(nclx)
        }
    }

    /// Decodes a part of the image, in the encoding of the file.
    pub(super) fn decode(&self, codec: Codec, part: Part) -> Result<Picture, Refusal> {
        let mut options = Options::new(codec, part)?;
        match self.decode_with(&options, part) {
            // libheif takes code points that it does not know for damage, unless damage is allowed. That must not leave out
            // tiles of a grid that is decoded as a whole.
            Err(refusal) if refusal.is_of_a_code_point() && self.is_coded_as_one(part)? => {
                options.allow_damage();
                self.decode_with(&options, part)
            }
            outcome => outcome,
        }
    }

    fn is_coded_as_one(&self, part: Part) -> Result<bool, Refusal> {
        let is_tile = matches!(part, Part::Tile(..));
        Ok(is_tile || !self.tiling()?.is_grid())
    }

    fn decode_with(&self, options: &Options, part: Part) -> Result<Picture, Refusal> {
        let (handle, options) = (self.0.as_ptr(), options.0.as_ptr());
        let (color, chroma) = (
            sys::heif_colorspace_heif_colorspace_undefined,
            sys::heif_chroma_heif_chroma_undefined,
        );
        let mut picture = ptr::null_mut();
        // SAFETY: handle and options are alive; the result goes to a local variable.
        check(unsafe {
            let result = &raw mut picture;
            match part {
                Part::Tile(x, y) => sys::heif_image_handle_decode_image_tile(
                    handle, result, color, chroma, options, x, y,
                ),
                Part::Stored | Part::Shown => {
                    sys::heif_decode_image(handle, result, color, chroma, options)
                }
            }
        })?;
        Ok(Picture::new(present(picture)?))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: released once, here.
        unsafe { sys::heif_image_handle_release(self.0.as_ptr()) }
    }
}

struct Options(NonNull<sys::heif_decoding_options>);

impl Options {
    fn new(codec: Codec, part: Part) -> Result<Self, Refusal> {
        // SAFETY: takes nothing; the result is checked.
        let mut options = Self(present(unsafe { sys::heif_decoding_options_alloc() })?);
        // SAFETY: alive, and of the version that this library was built with.
        let fields = unsafe { options.0.as_mut() };
        fields.ignore_transformations = u8::from(part != Part::Shown);
        // Otherwise half a photo is decoded without an error.
        fields.strict_decoding = 1;
        fields.num_codec_threads = NO_THREADS;
        fields.decoder_id = codec.id().as_ptr();
        fields.output_image_nclx_profile_passthrough = 1;
        // Otherwise the limited range of the container hides the full one of the coded data.
        fields.autocorrect_broken_input = 1;
        Ok(options)
    }

    fn allow_damage(&mut self) {
        // SAFETY: alive, and of the version that this library was built with.
        unsafe { self.0.as_mut() }.strict_decoding = 0;
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: freed once, here.
        unsafe { sys::heif_decoding_options_free(self.0.as_ptr()) }
    }
}
