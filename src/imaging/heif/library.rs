//! libheif's view of a file: parsing within limits, the primary image, its transformations.
//!
//! This file, `handle`, `picture`, `plugin` and `whole` are the only ones that call libheif and, with `libavcodec`, the only
//! unsafe code of this layer: values that free themselves, slices that know their length. libheif-rs keeps the library initialised; the rest goes through
//! libheif-sys, because libheif-rs gives no access to single tiles, nor to the pointers underneath.
//!
//! Invariants: a [`Context`] borrows the file, which libheif reads without a copy; handles and pictures are counted
//! references and may outlive what they came from; every pointer kept is not null.

#![expect(
    unsafe_code,
    reason = "calls of a C library; each block says why its arguments are right"
)]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;
use std::ptr::NonNull;
use std::sync::LazyLock;

use libheif_rs::LibHeif;
use libheif_sys as sys;

use crate::imaging::heif::handle::Handle;
use crate::imaging::heif::hevc;

/// Most items of a file. A 48-megapixel iPhone photo is a grid of 192, and as many again for its depth.
const ITEMS_MAX: u32 = 1_000;

/// Most memory for one file, in bytes: 64 megapixels with colour and alpha planes take 160 MB.
const MEMORY_BYTES_MAX: u64 = 256 * 1_024 * 1_024;

/// Most brands, extents of an item, members of a group, and further counts that photos keep in single digits.
const SMALL_COUNT_MAX: u32 = 100;

/// The library, initialised once for the life of the process and not anew for every file: that would also forget the
/// decoders that were made known to it. Tells whether they were.
static LIBRARY: LazyLock<(LibHeif, Result<(), Refusal>)> = LazyLock::new(|| {
    keep_memory_between_tiles();
    let library = LibHeif::new();
    (library, hevc::register())
});

/// Lets the allocator keep for the next tile what the last one gives back. Left alone it asks the kernel for the planes of
/// each and returns them at once, and the kernel writes zeros into them before: measured with a photo of 48 megapixels,
/// 38,900 page faults instead of 11,300, and 7 % more time with libavcodec. A process that decodes HEIC ends with its
/// picture, so nothing is kept for long.
#[cfg(target_env = "gnu")]
fn keep_memory_between_tiles() {
    // The largest that glibc takes, and more than two tiles with all that the decoders need for them.
    let (mapped_from, given_back_from, asked_for) = (32 << 20, 64 << 20, 4 << 20);
    // SAFETY: mallopt changes numbers inside the allocator, which is sound with any of them.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, mapped_from);
        libc::mallopt(libc::M_TRIM_THRESHOLD, given_back_from);
        libc::mallopt(libc::M_TOP_PAD, asked_for);
    }
}

/// Other C libraries have no such numbers.
#[cfg(not(target_env = "gnu"))]
const fn keep_memory_between_tiles() {}

/// What libheif said was wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("libheif: {sentence}")]
pub(super) struct Refusal {
    code: sys::heif_error_code,
    detail: sys::heif_suberror_code,
    sentence: String,
}

impl Refusal {
    /// Whether a decoder does not know this kind of picture, or is not there. Another one may be able to.
    pub(super) const fn is_of_support(&self) -> bool {
        self.code == sys::heif_error_code_heif_error_Unsupported_feature
    }

    /// Whether a code point is reserved, or newer than libheif.
    pub(super) const fn is_of_a_code_point(&self) -> bool {
        matches!(
            self.detail,
            sys::heif_suberror_code_heif_suberror_Unknown_NCLX_color_primaries
                | sys::heif_suberror_code_heif_suberror_Unknown_NCLX_transfer_characteristics
                | sys::heif_suberror_code_heif_suberror_Unknown_NCLX_matrix_coefficients
        )
    }

    /// A refusal of our own.
    pub(super) fn new(message: &str) -> Self {
        Self {
            code: sys::heif_error_code_heif_error_Decoder_plugin_error,
            detail: sys::heif_suberror_code_heif_suberror_Unspecified,
            sentence: message.to_owned(),
        }
    }
}

/// The refusal that an error code of libheif stands for.
pub(super) fn check(error: sys::heif_error) -> Result<(), Refusal> {
    if error.code == 0 {
        return Ok(());
    }
    let sentence = if error.message.is_null() {
        "no message".to_owned()
    } else {
        // SAFETY: not null, and libheif keeps the text, which ends with a zero, until the next call.
        let message = unsafe { CStr::from_ptr(error.message) };
        message.to_string_lossy().into_owned()
    };
    Err(Refusal {
        code: error.code,
        detail: error.subcode,
        sentence,
    })
}

/// A pointer that libheif gives; null means that there was no memory.
pub(super) fn present<T>(pointer: *mut T) -> Result<NonNull<T>, Refusal> {
    NonNull::new(pointer).ok_or_else(|| Refusal {
        code: sys::heif_error_code_heif_error_Memory_allocation_error,
        detail: sys::heif_suberror_code_heif_suberror_Unspecified,
        sentence: "no memory".to_owned(),
    })
}

/// A file that has been parsed.
pub(super) struct Context<'a> {
    pointer: NonNull<sys::heif_context>,
    file: PhantomData<&'a [u8]>,
}

impl<'a> Context<'a> {
    /// Parses a file, within limits that are far below libheif's own.
    pub(super) fn read(
        file: &'a [u8],
        pixels_max: u64,
        profile_bytes_max: u32,
    ) -> Result<Self, Refusal> {
        LIBRARY.1.clone()?;
        // SAFETY: takes nothing; the result is checked.
        let context = Self {
            pointer: present(unsafe { sys::heif_context_alloc() })?,
            file: PhantomData,
        };
        let pointer = context.pointer.as_ptr();
        // SAFETY: the context is alive; the limits are a part of it.
        let limits = unsafe { sys::heif_context_get_security_limits(pointer).as_mut() };
        if let Some(limits) = limits {
            limits.max_image_size_pixels = pixels_max;
            limits.max_items = ITEMS_MAX;
            limits.max_number_of_tiles = u64::from(ITEMS_MAX);
            limits.max_color_profile_size = profile_bytes_max;
            limits.max_memory_block_size = MEMORY_BYTES_MAX;
            limits.max_total_memory = MEMORY_BYTES_MAX;
            limits.max_components = SMALL_COUNT_MAX;
            limits.max_iloc_extents_per_item = SMALL_COUNT_MAX;
            limits.max_children_per_box = ITEMS_MAX;
            limits.max_number_of_file_brands = SMALL_COUNT_MAX;
        }
        // SAFETY: the context is alive; the file is as long as said and outlives the context by its lifetime.
        check(unsafe {
            sys::heif_context_set_max_decoding_threads(pointer, 0);
            let (start, length) = (file.as_ptr().cast(), file.len());
            sys::heif_context_read_from_memory_without_copy(pointer, start, length, ptr::null())
        })?;
        Ok(context)
    }

    /// The image that the file is about.
    pub(super) fn primary(&self) -> Result<Handle, Refusal> {
        let mut handle = ptr::null_mut();
        // SAFETY: the context is alive; the result goes to a local variable.
        check(unsafe {
            sys::heif_context_get_primary_image_handle(self.pointer.as_ptr(), &raw mut handle)
        })?;
        Ok(Handle::new(present(handle)?))
    }

    /// How many images there are that are shown on their own.
    pub(super) fn image_count(&self) -> i32 {
        // SAFETY: the context is alive.
        unsafe { sys::heif_context_get_number_of_top_level_images(self.pointer.as_ptr()) }
    }

    /// What is to be done to an image once it is decoded, in order.
    pub(super) fn transformations(&self, item: sys::heif_item_id) -> Vec<Transformation> {
        let context = self.pointer.as_ptr();
        let mut properties = [0; 16];
        // SAFETY: the context is alive; not more than the array's length is written.
        let count = unsafe {
            let list = properties.as_mut_ptr();
            sys::heif_item_get_transformation_properties(context, item, list, 16)
        };
        let count = usize::try_from(count).unwrap_or(0);
        let known = properties.iter().take(count).filter_map(|property| {
            // SAFETY: the context is alive; unknown items and properties are answered with "invalid".
            unsafe {
                match sys::heif_item_get_property_type(context, item, *property) {
                    sys::heif_item_property_type_heif_item_property_type_transform_rotation => {
                        let degrees = sys::heif_item_get_property_transform_rotation_ccw(
                            context, item, *property,
                        );
                        Some(Transformation::Rotate { degrees })
                    }
                    sys::heif_item_property_type_heif_item_property_type_transform_mirror => {
                        let direction = sys::heif_item_get_property_transform_mirror(
                            context, item, *property,
                        );
                        Some(Transformation::Mirror {
                            left_right: direction
                                == sys::heif_transform_mirror_direction_heif_transform_mirror_direction_horizontal,
                        })
                    }
                    sys::heif_item_property_type_heif_item_property_type_transform_crop => {
                        Some(Transformation::Crop { property: *property })
                    }
                    _ => None,
                }
            }
        });
        known.collect()
    }

    /// The borders that a crop takes from an image of this size: left, top, right, bottom.
    pub(super) fn crop_borders(
        &self,
        handle: &Handle,
        property: u32,
        width: u32,
        height: u32,
    ) -> Option<[u32; 4]> {
        let (width, height) = (i32::try_from(width).ok()?, i32::try_from(height).ok()?);
        let [mut left, mut top, mut right, mut bottom] = [0; 4];
        // SAFETY: the context is alive; the results go to local variables.
        unsafe {
            sys::heif_item_get_property_transform_crop_borders(
                self.pointer.as_ptr(),
                handle.id(),
                property,
                width,
                height,
                &raw mut left,
                &raw mut top,
                &raw mut right,
                &raw mut bottom,
            );
        }
        let borders = [left, top, right, bottom].map(|border| u32::try_from(border).unwrap_or(0));
        Some(borders)
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: freed once, here.
        unsafe { sys::heif_context_free(self.pointer.as_ptr()) }
    }
}

/// One step from the decoded image to the shown one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transformation {
    /// Turn by so many degrees anticlockwise.
    Rotate {
        /// 0, 90, 180 or 270.
        degrees: i32,
    },
    /// Exchange left and right, or top and bottom.
    Mirror {
        /// Left and right.
        left_right: bool,
    },
    /// Cut borders off; see [`Context::crop_borders`].
    Crop {
        /// Where the borders are written.
        property: u32,
    },
}
