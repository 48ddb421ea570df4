//! What every test stands on: a server of its own, a client that looks closely, pictures and what to expect of them.

pub mod client;
pub mod delivered;
pub mod fake;
pub mod fixtures;
pub mod form;
pub mod issuer;
pub mod jpeg;
pub mod process;
pub mod raw;
pub mod secure;
pub mod server;
pub mod stored;
pub mod strict;
pub mod token;

pub use client::{Connection, Reply, Request};
pub use fixtures::fixture;
pub use form::Form;
pub use server::{Server, Setup, User};

use std::time::Duration;

/// Longest wait for anything that should be there at once. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// `http.upload_bytes_max` as it comes: 5 MiB.
pub const UPLOAD_BYTES_MAX: usize = 5 * 1_024 * 1_024;
/// The sentence for everything that is not a whole picture of an accepted format.
pub const NOT_AN_IMAGE: &str = r#"{"image":["Upload a valid image. The file you uploaded was either not an image or a corrupted image."]}"#;
/// Where pictures are sent.
pub const PICTURE: &str = "/api/users/me/profile/picture/";
/// The caller's own profile.
pub const PROFILE: &str = "/api/users/me/profile/";

/// Whether any file below a directory has these bytes in it.
pub fn holds(directory: &std::path::Path, wanted: &[u8]) -> bool {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(Result::unwrap).any(|entry| {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            return holds(&path, wanted);
        }
        kind.is_file() && client::position(&std::fs::read(&path).unwrap(), wanted).is_some()
    })
}
