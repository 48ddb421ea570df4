//! libde265 as a decoder of libheif that gives whole pictures only.
//!
//! Of a damaged picture libde265 gives what it could decode, and in the place of the rest what happened to be in memory:
//! another picture each time, of bytes that are nobody's business. libheif's strict decoding does not change that, and its
//! table of functions for libde265 has no place for the parameter that does. So the table is copied, with one function
//! that sets it.

#![expect(unsafe_code, reason = "C libraries; each block says what they promise")]

use std::ffi::CStr;
use std::ffi::c_int;
use std::ffi::c_void;
use std::sync::OnceLock;

use libheif_sys as sys;

use crate::imaging::heif::library::Refusal;
use crate::imaging::heif::library::check;

/// Name under which decoding options ask for this decoder.
pub(super) const ID: &CStr = c"libde265-whole";

/// Words of the table up to version 5: the version, and functions or what takes as much room. Source: `heif_plugin.h`.
const WORDS: usize = 18;
/// Version of the table that libheif has for libde265.
const VERSION: usize = 5;
/// Where the name is in the table.
const ID_NAME: usize = 10;
/// Where the function is that makes a decoder.
const NEW_DECODER: usize = 14;
/// `DE265_DECODER_PARAM_SUPPRESS_FAULTY_PICTURES`. Source: `de265.h`.
const SUPPRESS_FAULTY_PICTURES: c_int = 6;

/// `heif_decoder_plugin`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct Table([*const c_void; WORDS]);

// SAFETY: what it points to is static and never changes.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

type NewDecoder = unsafe extern "C" fn(*mut *mut c_void, *const c_void) -> sys::heif_error;

static ORIGINAL: OnceLock<NewDecoder> = OnceLock::new();
static TABLE: OnceLock<Table> = OnceLock::new();

unsafe extern "C" {
    /// libheif's `get_decoder_plugin_libde265()`.
    #[link_name = "_Z27get_decoder_plugin_libde265v"]
    fn table_of_libde265() -> *const Table;

    fn de265_set_parameter_bool(context: *mut c_void, parameter: c_int, value: c_int);
}

/// Makes the decoder known to libheif, which must be initialised and stay so.
///
/// # Errors
///
/// [`Refusal`] if libheif has another table than the one that is known here.
pub(super) fn register() -> Result<(), Refusal> {
    // SAFETY: static in libheif, which is built with this program and whose tables have at least so many words.
    let mut table = unsafe { table_of_libde265().read() };
    // The version is an `int`: what is behind it in its word says nothing.
    if table.0.first().map(|word| word.addr() & 0xFFFF_FFFF) != Some(VERSION) {
        return Err(Refusal::new("unknown version of the table of libde265"));
    }
    if let Some(name) = table.0.get_mut(ID_NAME) {
        *name = ID.as_ptr().cast();
    }
    if let Some(word) = table.0.get_mut(NEW_DECODER) {
        let ours: NewDecoder = new_decoder;
        // SAFETY: a function of this type is there in this version, and ours is of the same.
        unsafe {
            let original = std::mem::transmute::<*const c_void, NewDecoder>(*word);
            ORIGINAL.get_or_init(|| original);
        }
        #[expect(
            clippy::as_conversions,
            reason = "the only way from a function to a pointer"
        )]
        let ours = ours as *const c_void;
        *word = ours;
    }
    let table = TABLE.get_or_init(|| table);
    // SAFETY: the table is static and, but for two words, libheif's own.
    check(unsafe { sys::heif_register_decoder_plugin(std::ptr::from_ref(table).cast()) })
}

/// # Safety
///
/// Called by libheif alone, as its own function for this.
unsafe extern "C" fn new_decoder(
    decoder: *mut *mut c_void,
    options: *const c_void,
) -> sys::heif_error {
    let Some(original) = ORIGINAL.get() else {
        return sys::heif_error {
            code: sys::heif_error_code_heif_error_Decoder_plugin_error,
            subcode: sys::heif_suberror_code_heif_suberror_Unspecified,
            message: c"no decoder".as_ptr(),
        };
    };
    // SAFETY: the arguments are libheif's. A decoder that was made begins with the pointer to libde265's context.
    unsafe {
        let made = original(decoder, options);
        if made.code == 0 {
            let context = decoder.read().cast::<*mut c_void>().read();
            de265_set_parameter_bool(context, SUPPRESS_FAULTY_PICTURES, 1);
        }
        made
    }
}
