//! Reads an archive from its first byte to its last and believes nothing: each entry must be the one that comes next.

use std::fmt::Write as _;
use std::io;
use std::io::Read;

use aws_lc_rs::digest;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::domain::picture::Rendition;
use crate::domain::user::UserId;
use crate::storage::WholeUser;
use crate::storage::archive::Error;
use crate::storage::archive::FORMAT;
use crate::storage::archive::HEAD_BYTES_MAX;
use crate::storage::archive::HEAD_PATH;
use crate::storage::archive::MANIFEST_PATH;
use crate::storage::archive::PICTURE_FILE_BYTES_MAX;
use crate::storage::archive::PICTURE_FILES_MAX;
use crate::storage::archive::Summary;
use crate::storage::archive::USERS_FILE_BYTES_MAX;
use crate::storage::archive::USERS_FILE_USERS_MAX;
use crate::storage::archive::VERSION;
use crate::storage::archive::line::FileLine;
use crate::storage::archive::line::Head;
use crate::storage::archive::line::Manifest;
use crate::storage::archive::line::OriginalLine;
use crate::storage::archive::line::PictureLine;
use crate::storage::archive::line::UserLine;
use crate::storage::archive::refused;
use crate::storage::archive::users_path;
use crate::storage::upkeep::Original;

/// Reads a whole archive; hands over each user once all of their files are there and match their checksums. `take`
/// may refuse one, with the reason. An upload that was kept may have `original_bytes_max` bytes. That all users were the right ones is known when this returns `Ok`, not before.
///
/// # Errors
///
/// [`Error::Refused`] names the entry and what is wrong with it, [`Error::TooNew`], [`Error::Io`].
pub fn read(
    input: impl Read,
    original_bytes_max: u64,
    mut take: impl FnMut(WholeUser) -> Result<(), String>,
) -> Result<Summary, Error> {
    let mut tar = tar::Archive::new(input);
    // Raw: what other tars add to an entry (long names, attributes) would be read into memory before anyone looks.
    let entries = tar.entries().map_err(failed)?.raw(true);
    let mut entries = Entries {
        tar: entries,
        place: String::new(),
    };
    check_head(&mut entries)?;
    let mut reading = Reading {
        users_sha256: digest::Context::new(&digest::SHA256),
        picture_files: 0,
        last: None,
        summary: Summary::default(),
        original_bytes_max,
    };
    let mut number = 1_u64;
    loop {
        let lines = users_path(number);
        let (path, bytes) = entries.next_of(&[&lines, MANIFEST_PATH], USERS_FILE_BYTES_MAX)?;
        if path == MANIFEST_PATH {
            reading.check_manifest(&bytes)?;
            entries.end()?;
            return Ok(reading.summary);
        }
        reading.users(&path, &bytes, &mut entries, &mut take)?;
        number = number.saturating_add(1);
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of bytes, in lower-case hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// What has been read so far.
struct Reading {
    users_sha256: digest::Context,
    picture_files: u64,
    last: Option<UserId>,
    summary: Summary,
    original_bytes_max: u64,
}

impl Reading {
    /// A file of lines and the pictures that belong to it.
    fn users(
        &mut self,
        path: &str,
        lines: &[u8],
        entries: &mut Entries<'_, impl Read>,
        take: &mut impl FnMut(WholeUser) -> Result<(), String>,
    ) -> Result<(), Error> {
        self.users_sha256.update(lines);
        let text = std::str::from_utf8(lines).map_err(|_| refused(path, "it is not UTF-8"))?;
        let count = text.lines().count();
        if count > USERS_FILE_USERS_MAX {
            let reason = format!("it has {count} users, the limit is {USERS_FILE_USERS_MAX}");
            return Err(refused(path, reason));
        }
        for (number, text) in (1_u64..).zip(text.lines()) {
            let place = format!("{path} line {number}");
            let line: UserLine =
                serde_json::from_str(text).map_err(|error| refused(&place, error.to_string()))?;
            if self.last.as_ref().is_some_and(|last| *last >= line.user_id) {
                let reason = format!("user {} is out of order", line.user_id);
                return Err(refused(place, reason));
            }
            self.last = Some(line.user_id.clone());
            let user = self.whole(line, &place, entries)?;
            self.summary.users = self.summary.users.saturating_add(1);
            take(user).map_err(|reason| refused(place, reason))?;
        }
        Ok(())
    }

    /// The user of a line with the files of the picture, which come next.
    fn whole(
        &mut self,
        line: UserLine,
        place: &str,
        entries: &mut Entries<'_, impl Read>,
    ) -> Result<WholeUser, Error> {
        let mut renditions = Vec::new();
        let mut original = None;
        if let Some(picture) = &line.profile.picture {
            let count = picture.files.len();
            if !(1..=PICTURE_FILES_MAX).contains(&count) {
                let reason =
                    format!("its picture has {count} files, 1 to {PICTURE_FILES_MAX} are allowed");
                return Err(refused(place, reason));
            }
            for file in &picture.files {
                renditions.push(self.rendition(picture, file, place, entries)?);
            }
            if let Some(told) = &picture.original {
                original = Some(self.original(picture, told, place, entries)?);
            }
            self.summary.pictures = self.summary.pictures.saturating_add(1);
        }
        let mut user = line.into_user();
        user.renditions = renditions;
        user.making.original = original;
        Ok(user)
    }

    fn rendition(
        &mut self,
        picture: &PictureLine,
        file: &FileLine,
        place: &str,
        entries: &mut Entries<'_, impl Read>,
    ) -> Result<Rendition, Error> {
        let told = Told {
            path: &file.path,
            bytes: file.bytes,
            sha256: &file.sha256,
        };
        let path = PictureLine::path(picture.id, file.size_px);
        let bytes = told.read(&path, place, PICTURE_FILE_BYTES_MAX, entries)?;
        self.picture_files = self.picture_files.saturating_add(1);
        self.summary.picture_bytes = self.summary.picture_bytes.saturating_add(file.bytes);
        Ok(Rendition {
            size_px: file.size_px,
            bytes,
        })
    }

    fn original(
        &mut self,
        picture: &PictureLine,
        original: &OriginalLine,
        place: &str,
        entries: &mut Entries<'_, impl Read>,
    ) -> Result<Original, Error> {
        let told = Told {
            path: &original.path,
            bytes: original.bytes,
            sha256: &original.sha256,
        };
        let path = PictureLine::original_path(picture.id);
        if original.bytes > self.original_bytes_max {
            let (actual, limit) = (original.bytes, self.original_bytes_max);
            let reason = format!("it has {actual} bytes, http.upload_bytes_max is {limit}");
            return Err(refused(path, reason));
        }
        let bytes = told.read(&path, place, self.original_bytes_max, entries)?;
        self.summary.originals = self.summary.originals.saturating_add(1);
        self.summary.original_bytes = self.summary.original_bytes.saturating_add(original.bytes);
        Ok(Original {
            bytes,
            crop: original.crop,
        })
    }

    fn check_manifest(&self, bytes: &[u8]) -> Result<(), Error> {
        let told: Manifest = parsed(MANIFEST_PATH, bytes)?;
        let found = Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            users: self.summary.users,
            pictures: self.summary.pictures,
            picture_files: self.picture_files,
            picture_bytes: self.summary.picture_bytes,
            originals: self.summary.originals,
            original_bytes: self.summary.original_bytes,
            users_sha256: hexadecimal(self.users_sha256.clone().finish().as_ref()),
        };
        if told == found {
            return Ok(());
        }
        let reason = format!("it says {told:?}, but there is {found:?}");
        Err(refused(MANIFEST_PATH, reason))
    }
}

/// What a line says of a file.
struct Told<'l> {
    path: &'l str,
    bytes: u64,
    sha256: &'l str,
}

impl Told<'_> {
    /// Reads the file, which comes next and has that path.
    fn read(
        &self,
        path: &str,
        place: &str,
        bytes_max: u64,
        entries: &mut Entries<'_, impl Read>,
    ) -> Result<Bytes, Error> {
        if self.path != path {
            let reason = format!("it names the file {:?}, want {path:?}", self.path);
            return Err(refused(place, reason));
        }
        let (_, bytes) = entries.next_of(&[path], bytes_max)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length != self.bytes {
            let reason = format!("it has {length} bytes, {place} says {}", self.bytes);
            return Err(refused(path, reason));
        }
        let found = sha256(&bytes);
        if found != self.sha256 {
            let reason = format!("its SHA-256 is {found}, {place} says {}", self.sha256);
            return Err(refused(path, reason));
        }
        Ok(Bytes::from(bytes))
    }
}

fn check_head(entries: &mut Entries<'_, impl Read>) -> Result<(), Error> {
    let (_, bytes) = entries.next_of(&[HEAD_PATH], HEAD_BYTES_MAX)?;
    let head: Head = parsed(HEAD_PATH, &bytes)?;
    if head.format != FORMAT {
        let reason = format!("the format is {:?}, want {FORMAT:?}", head.format);
        return Err(refused(HEAD_PATH, reason));
    }
    if head.version > VERSION {
        return Err(Error::TooNew {
            found: head.version,
        });
    }
    if head.version == 0 {
        return Err(refused(HEAD_PATH, "there is no format version 0"));
    }
    Ok(())
}

fn parsed<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| refused(path, error.to_string()))
}

/// The entries of the tar file, in order.
struct Entries<'a, R: Read> {
    tar: tar::Entries<'a, R>,
    /// The entry before, for messages.
    place: String,
}

impl<R: Read> Entries<'_, R> {
    /// The next entry: its path, which is one of `wanted`, and its bytes.
    fn next_of(&mut self, wanted: &[&str], bytes_max: u64) -> Result<(String, Vec<u8>), Error> {
        let want = wanted.join(" or ");
        let behind = if self.place.is_empty() {
            "at its begin".to_owned()
        } else {
            format!("behind {}", self.place)
        };
        let entry = self.tar.next().ok_or_else(|| {
            let reason = format!("it ends where {want} must come");
            refused(&behind, reason)
        })?;
        let mut entry = entry.map_err(|error| unreadable(&behind, error))?;
        let found = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !wanted.contains(&found.as_str()) {
            let reason = format!("the next entry is {found:?}, want {want}");
            return Err(refused(behind, reason));
        }
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(refused(found, "it is not a regular file"));
        }
        let size = entry.size();
        if size > bytes_max {
            let reason = format!("it has {size} bytes, the limit is {bytes_max}");
            return Err(refused(found, reason));
        }
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(&found, error))?;
        if u64::try_from(bytes.len()).ok() != Some(size) {
            let reason = format!("it is cut off: {} of {size} bytes are there", bytes.len());
            return Err(refused(found, reason));
        }
        self.place.clone_from(&found);
        Ok((found, bytes))
    }

    /// That nothing comes any more.
    fn end(&mut self) -> Result<(), Error> {
        match self.tar.next() {
            None => Ok(()),
            Some(_) => Err(refused(MANIFEST_PATH, "there are entries behind it")),
        }
    }
}

/// An entry that the tar crate cannot make out is the archive's fault, anything else the system's.
fn unreadable(place: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            refused(place, error.to_string())
        }
        _ => failed(error),
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io {
        attempt: "read",
        source,
    }
}
