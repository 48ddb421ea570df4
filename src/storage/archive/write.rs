//! Writes an archive, a few users at a time.

use std::io;
use std::io::Write;

use aws_lc_rs::digest;

use crate::domain::Timestamp;
use crate::domain::picture::Rendition;
use crate::storage::WholeUser;
use crate::storage::archive::Error;
use crate::storage::archive::FORMAT;
use crate::storage::archive::HEAD_PATH;
use crate::storage::archive::MANIFEST_PATH;
use crate::storage::archive::Summary;
use crate::storage::archive::VERSION;
use crate::storage::archive::line::FileLine;
use crate::storage::archive::line::Head;
use crate::storage::archive::line::Manifest;
use crate::storage::archive::line::OriginalLine;
use crate::storage::archive::line::PictureLine;
use crate::storage::archive::line::UserLine;
use crate::storage::archive::read::hexadecimal;
use crate::storage::archive::read::sha256;
use crate::storage::archive::users_path;

/// An archive that is being written. Without [`Writer::finish`] it is refused by whoever reads it.
pub struct Writer<W: Write> {
    tar: tar::Builder<W>,
    created_at: Timestamp,
    users_files: u64,
    users_sha256: digest::Context,
    picture_files: u64,
    summary: Summary,
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Writer")
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn begin(out: W, created_at: Timestamp) -> Result<Self, Error> {
        let mut writer = Self {
            tar: tar::Builder::new(out),
            created_at,
            users_files: 0,
            users_sha256: digest::Context::new(&digest::SHA256),
            picture_files: 0,
            summary: Summary::default(),
        };
        let head = Head {
            format: FORMAT.to_owned(),
            version: VERSION,
            created_at,
        };
        let head = json(&head)?;
        writer.entry(HEAD_PATH, created_at, 0o644, &head)?;
        Ok(writer)
    }

    /// Adds some users, whose ids come behind those before, as one file of lines and its pictures.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn add(&mut self, users: &[WholeUser]) -> Result<(), Error> {
        if users.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for user in users {
            lines.extend_from_slice(&json(&line(user))?);
        }
        self.users_files = self.users_files.saturating_add(1);
        self.users_sha256.update(&lines);
        // Password hashes are not for everybody.
        let path = users_path(self.users_files);
        self.entry(&path, self.created_at, 0o600, &lines)?;
        for user in users {
            self.summary.users = self.summary.users.saturating_add(1);
            let Some(picture) = &user.profile.picture else {
                continue;
            };
            self.summary.pictures = self.summary.pictures.saturating_add(1);
            for Rendition { size_px, bytes } in &user.renditions {
                let path = PictureLine::path(picture.id, *size_px);
                self.entry(&path, picture.uploaded_at, 0o644, bytes)?;
                self.picture_files = self.picture_files.saturating_add(1);
                self.summary.picture_bytes = self.summary.picture_bytes.saturating_add(len(bytes));
            }
            if let Some(original) = &user.making.original {
                // With all that is in it, a place among other things: not for everybody, either.
                let path = PictureLine::original_path(picture.id);
                self.entry(&path, picture.uploaded_at, 0o600, &original.bytes)?;
                self.summary.originals = self.summary.originals.saturating_add(1);
                let bytes = len(&original.bytes);
                self.summary.original_bytes = self.summary.original_bytes.saturating_add(bytes);
            }
        }
        Ok(())
    }

    /// Ends the archive; gives back where it was written to, not flushed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<(W, Summary), Error> {
        let manifest = Manifest {
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
        let manifest = json(&manifest)?;
        self.entry(MANIFEST_PATH, self.created_at, 0o644, &manifest)?;
        let out = self.tar.into_inner().map_err(failed)?;
        Ok((out, self.summary))
    }

    fn entry(&mut self, path: &str, time: Timestamp, mode: u32, bytes: &[u8]) -> Result<(), Error> {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).map_err(failed)?;
        header.set_size(len(bytes));
        header.set_mode(mode);
        header.set_mtime(u64::try_from(time.as_seconds()).unwrap_or(0));
        header.set_cksum();
        self.tar.append(&header, bytes).map_err(failed)
    }
}

fn line(user: &WholeUser) -> UserLine {
    let picture = user.profile.picture.as_ref().map(|picture| {
        let files = user.renditions.iter().map(|rendition| FileLine {
            size_px: rendition.size_px,
            path: PictureLine::path(picture.id, rendition.size_px),
            bytes: len(&rendition.bytes),
            sha256: sha256(&rendition.bytes),
        });
        let original = user.making.original.as_ref().map(|original| OriginalLine {
            path: PictureLine::original_path(picture.id),
            bytes: len(&original.bytes),
            sha256: sha256(&original.bytes),
            crop: original.crop,
        });
        PictureLine::of(picture, files.collect(), original, user.making.recipe)
    });
    UserLine::of(&user.account, &user.profile, picture)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn failed(source: io::Error) -> Error {
    Error::Io {
        attempt: "write",
        source,
    }
}
