//! Writes all users of a store as a neutral archive.
//!
//! Each user is written as they are at one moment: account, profile and picture belong together. With the store to
//! itself, which is how the command line runs it, all users are of the same moment.

use std::io::Write;
use std::sync::Arc;

use crate::domain::Timestamp;
use crate::domain::picture::Rendition;
use crate::domain::user::Account;
use crate::service::migrate::BYTES_AT_ONCE;
use crate::service::migrate::Error;
use crate::service::migrate::REPORT_EVERY_USERS;
use crate::service::migrate::Summary;
use crate::storage;
use crate::storage::Store;
use crate::storage::WholeUser;
use crate::storage::archive::Writer;

/// Users that are fetched, and written as one file of lines, at most.
const PAGE_USERS: usize = 200;
/// How often a user is read again whose picture is replaced while it is read.
const READ_AGAIN_MAX: usize = 100;

/// Writes everybody; gives back where to, all of it written but not synced.
///
/// # Errors
///
/// [`Error::Storage`] names what cannot be read: a damaged picture ends the export. [`Error::Archive`].
pub async fn export<W: Write + Send + 'static>(
    store: &Arc<dyn Store>,
    out: W,
    now: Timestamp,
) -> Result<(W, Summary), Error> {
    let mut writer = blocking(move || Writer::begin(out, now)).await?;
    let mut done = 0_u64;
    let mut last = None;
    loop {
        let page = store.accounts(last.as_ref(), PAGE_USERS).await?;
        let is_last = page.len() < PAGE_USERS;
        last = page.last().map(|account| account.user_id.clone());
        let mut users = Vec::new();
        let mut bytes = 0_u64;
        for account in page {
            let Some(user) = whole(store, account).await? else {
                continue;
            };
            bytes = bytes.saturating_add(picture_bytes(&user));
            users.push(user);
            if bytes >= BYTES_AT_ONCE {
                writer = add(writer, std::mem::take(&mut users)).await?;
                bytes = 0;
            }
            done = done.saturating_add(1);
            if done.is_multiple_of(REPORT_EVERY_USERS) {
                tracing::info!(users = done, "exporting");
            }
        }
        writer = add(writer, users).await?;
        if is_last {
            return blocking(move || writer.finish()).await;
        }
    }
}

/// A user with the files of their picture; none if they are gone by now.
async fn whole(store: &Arc<dyn Store>, account: Account) -> Result<Option<WholeUser>, Error> {
    for _ in 0..READ_AGAIN_MAX {
        match once(store, account.clone()).await {
            Ok(user) => return Ok(Some(user)),
            Err(storage::Error::NotFound(storage::What::User)) => return Ok(None),
            // Replaced between the profile and its files.
            Err(storage::Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(storage::Error::NotFound(storage::What::Picture).into())
}

async fn once(store: &Arc<dyn Store>, account: Account) -> Result<WholeUser, storage::Error> {
    let profile = store.profile(&account.user_id).await?;
    let mut renditions = Vec::new();
    if let Some(picture) = &profile.picture {
        for &size_px in &picture.sizes_px {
            let bytes = store.rendition(picture.id, size_px).await?.bytes;
            renditions.push(Rendition { size_px, bytes });
        }
    }
    Ok(WholeUser {
        account,
        profile,
        renditions,
    })
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

/// Bytes of a user's picture files.
pub(super) fn picture_bytes(user: &WholeUser) -> u64 {
    user.renditions.iter().fold(0, |sum, rendition| {
        sum.saturating_add(u64::try_from(rendition.bytes.len()).unwrap_or(u64::MAX))
    })
}
