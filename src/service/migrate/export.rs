//! Writes all users of a store as a neutral archive, beside a server or without one.
//!
//! Users are written in the order of their ids, a page at a time, all of them as they were when the export began: whoever
//! is added, changed or deleted while it runs is in it as they were before.

use std::io;
use std::io::BufWriter;
use std::io::Write;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::service;
use crate::service::admin::Admin;
use crate::service::admin::Chunk;
use crate::service::admin::Event;
use crate::service::admin::Events;
use crate::service::migrate::Error;
use crate::storage;
use crate::storage::WholeUser;
use crate::storage::archive::Summary;
use crate::storage::archive::Writer;
use crate::storage::listed::ListedUser;

/// Users of a page, and of one file of lines, at most.
const PAGE_USERS: usize = 200;
/// Bytes of the pictures of a page, if it is more than one user: read between two commits, they hold up writes for
/// milliseconds.
const PAGE_BYTES: u64 = 2 * 1_024 * 1_024;
/// The archive goes out in parts of so many bytes.
const CHUNK_BYTES: usize = 16 * 1_024;

/// How much was exported.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exported {
    /// Users.
    pub users: u64,
    /// Those of them that have a picture.
    pub pictures: u64,
    /// Bytes of all picture files.
    pub picture_bytes: u64,
    /// Uploads that were kept.
    pub originals: u64,
    /// Bytes of them.
    pub original_bytes: u64,
}

impl From<Summary> for Exported {
    fn from(summary: Summary) -> Self {
        Self {
            users: summary.users,
            pictures: summary.pictures,
            picture_bytes: summary.picture_bytes,
            originals: summary.originals,
            original_bytes: summary.original_bytes,
        }
    }
}

impl Admin {
    /// Writes everybody.
    ///
    /// # Errors
    ///
    /// [`Error::LeftOut`] if something is damaged: the archive is whole without it, and each was told of.
    /// [`service::Error::Storage`] if the disk or the database fails.
    pub(in crate::service) async fn export(&self, events: &Events) -> Result<(), service::Error> {
        let of = self.counted().await?.map(|counts| counts.users);
        let out = BufWriter::with_capacity(CHUNK_BYTES, ToEvents(events.clone()));
        let now = (self.clock)();
        let mut writer = blocking(move || Writer::begin(out, now)).await?;
        let mut snapshot = self.store.snapshot().await?;
        let (mut done, mut findings) = (0_u64, 0_u64);
        loop {
            let page = snapshot.users(PAGE_USERS, PAGE_BYTES).await?;
            if page.is_empty() {
                break;
            }
            done = done.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            let mut users = Vec::with_capacity(page.len());
            for listed in page {
                findings = findings.saturating_add(tell_of(&listed, events).await?);
                users.extend(listed.whole);
            }
            writer = add(writer, users).await?;
            events.working("users", done, of).await?;
        }
        let exported = blocking(move || {
            let (mut out, summary) = writer.finish()?;
            let attempt = "write";
            out.flush()
                .map_err(|source| storage::archive::Error::Io { attempt, source })?;
            Ok(Exported::from(summary))
        });
        events.tell(Event::Exported(exported.await?)).await?;
        match findings {
            0 => Ok(()),
            findings => Err(Error::LeftOut { findings }.into()),
        }
    }
}

/// Tells of what is damaged of a user; how much that is.
async fn tell_of(listed: &ListedUser, events: &Events) -> Result<u64, service::Error> {
    for error in &listed.damage {
        let user_id = listed.user_id.clone();
        let stays = if listed.whole.is_some() {
            "the archive is without it"
        } else {
            "the archive is without this user"
        };
        let reason = format!("{error}; {stays}");
        events.tell(Event::Damaged { user_id, reason }).await?;
    }
    Ok(u64::try_from(listed.damage.len()).unwrap_or(u64::MAX))
}

/// Hands an archive on as it is written.
#[derive(Debug)]
struct ToEvents(Events);

impl Write for ToEvents {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Chunk(Bytes::copy_from_slice(bytes));
        let told = self.0.tell_blocking(Event::Data(chunk));
        told.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn add<W: Write + Send + 'static>(
    mut writer: Writer<W>,
    users: Vec<WholeUser>,
) -> Result<Writer<W>, Error> {
    blocking(move || writer.add(&users).map(|()| writer)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, storage::archive::Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| Error::Cancelled)??)
}

/// Bytes of a user's picture files and of the upload, where it was kept.
pub(super) fn picture_bytes(user: &WholeUser) -> u64 {
    let renditions = user.renditions.iter().map(|rendition| &rendition.bytes);
    let original = user.making.original.iter().map(|original| &original.bytes);
    renditions.chain(original).fold(0, |sum, bytes| {
        sum.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    })
}
