//! Reads a neutral archive into a store: first all of it to find out whether it can be believed, then again to write.
//!
//! A user of the archive who is in the store already, the same in everything, is left alone. That is also how an
//! interrupted import goes on: run again, it passes over what it has written.

use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Seek as _;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::auth;
use crate::domain::picture::Picture;
use crate::domain::picture::PictureId;
use crate::domain::user::Profile;
use crate::service;
use crate::service::admin::Admin;
use crate::service::admin::Event;
use crate::service::admin::Events;
use crate::service::migrate::BYTES_AT_ONCE;
use crate::service::migrate::Error;
use crate::service::migrate::USERS_AT_ONCE;
use crate::service::migrate::check::check;
use crate::service::migrate::export::picture_bytes;
use crate::storage;
use crate::storage::Store;
use crate::storage::WholeUser;
use crate::storage::archive;
use crate::storage::archive::Summary;

/// Users of the archive that are read ahead.
const READ_AHEAD_USERS: usize = 4;
/// Part of the archive that is read from the disk at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1_024;

/// What becomes of a user of the archive who is in the store, but not the same.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Nothing is imported at all.
    Fail,
    /// The one in the store stays.
    Skip,
    /// The one in the archive takes the place, with everything. Only of a user of the same id: a picture whose id another
    /// user has gets a new one.
    Replace,
}

/// What became of one user of the archive.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Is in the store now and was not before.
    Added,
    /// Was there, and has been replaced.
    Replaced,
    /// Was there, the same in everything.
    Unchanged,
    /// Was there without the picture, and has it now.
    Completed,
    /// Stays out, for this reason.
    Skipped(String),
    /// Could not be written: what the store has in the place is damaged, and so.
    Damaged(String),
}

/// What became of all users of an archive.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Imported {
    /// Users in the archive.
    pub users: u64,
    /// Those of them that have a picture.
    pub pictures: u64,
    /// How many are new.
    pub added: u64,
    /// How many took the place of another.
    pub replaced: u64,
    /// How many were there.
    pub unchanged: u64,
    /// How many stayed out.
    pub skipped: u64,
    /// How many could not be written, as what the store has in their place is damaged.
    pub damaged: u64,
    /// How many of the new and replaced have their picture with a new id, as another user has that of the archive.
    pub new_picture_ids: u64,
}

/// What was done about a user, and the new id of their picture, if it needed one.
type Done = (Outcome, Option<PictureId>);

impl Admin {
    /// Imports an archive from a file. Nothing is written unless all of the archive has been verified, and, with
    /// [`OnConflict::Fail`] and [`OnConflict::Replace`], unless every user of it can be written.
    ///
    /// # Errors
    ///
    /// [`Error::Archive`] and [`Error::Conflict`]: nothing was written. [`Error::Stopped`]: only whole users were, and
    /// running it again goes on from there. [`Error::DamagedPlaces`], [`Error::NotReplaced`]: all others were; each of
    /// these was told of.
    pub(in crate::service) async fn import(
        &self,
        file: &File,
        on_conflict: OnConflict,
        events: &Events,
    ) -> Result<(), service::Error> {
        let archive = self.verify(file, on_conflict, events).await?;
        tracing::info!(users = archive.users, "the archive is verified");
        let mut imported = Imported {
            users: archive.users,
            pictures: archive.pictures,
            ..Imported::default()
        };
        let original_bytes_max = self.config.http.upload_bytes_max;
        let mut pass = Pass::begin(file, original_bytes_max)?;
        while let Some(users) = pass.next().await {
            let writes = users
                .iter()
                .map(|user| write(&self.store, user, on_conflict));
            for (user, outcome) in users.iter().zip(join_all(writes).await) {
                let outcome = outcome.map_err(|cause| Error::Stopped {
                    user: user.account.user_id.to_string(),
                    written: imported.added.saturating_add(imported.replaced),
                    cause,
                })?;
                let (outcome, new_id) = outcome;
                imported.count(&outcome);
                let user_id = user.account.user_id.clone();
                if let Some(picture_id) = new_id {
                    imported.new_picture_ids = imported.new_picture_ids.saturating_add(1);
                    let user_id = user_id.clone();
                    let told = Event::NewPictureId {
                        user_id,
                        picture_id,
                    };
                    events.tell(told).await?;
                }
                match outcome {
                    Outcome::Skipped(reason) => {
                        events.tell(Event::Skipped { user_id, reason }).await?;
                    }
                    Outcome::Damaged(reason) => {
                        events.tell(Event::Damaged { user_id, reason }).await?;
                    }
                    Outcome::Added
                    | Outcome::Replaced
                    | Outcome::Unchanged
                    | Outcome::Completed => {}
                }
            }
            let (done, of) = (imported.done(), Some(archive.users));
            events.working("users imported", done, of).await?;
        }
        pass.end().await?;
        events.tell(Event::Imported(imported)).await?;
        match (imported.damaged, imported.skipped) {
            (0, skipped) if skipped > 0 && on_conflict == OnConflict::Replace => {
                Err(Error::NotReplaced { skipped }.into())
            }
            (0, _) => Ok(()),
            (damaged, _) => Err(Error::DamagedPlaces { damaged }.into()),
        }
    }

    /// Reads all of the archive, and finds out whether all of it may be written.
    async fn verify(
        &self,
        file: &File,
        on_conflict: OnConflict,
        events: &Events,
    ) -> Result<Summary, service::Error> {
        let mut pass = Pass::begin(file, self.config.http.upload_bytes_max)?;
        let mut done = 0_u64;
        while let Some(users) = pass.next().await {
            let verdicts = users.iter().map(|user| verdict(&self.store, user));
            for (user, found) in users.iter().zip(join_all(verdicts).await) {
                let ((
                    Verdict::Differs(reason)
                    | Verdict::Damaged(reason)
                    | Verdict::TakenPicture(reason),
                    OnConflict::Fail,
                )
                | (Verdict::Taken(reason), OnConflict::Fail | OnConflict::Replace)) =
                    (found?, on_conflict)
                else {
                    continue;
                };
                let user = user.account.user_id.to_string();
                return Err(Error::Conflict { user, reason }.into());
            }
            done = done.saturating_add(u64::try_from(users.len()).unwrap_or(u64::MAX));
            events.working("users verified", done, None).await?;
        }
        Ok(pass.end().await?)
    }
}

impl Imported {
    fn count(&mut self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Added => &mut self.added,
            Outcome::Replaced => &mut self.replaced,
            Outcome::Unchanged | Outcome::Completed => &mut self.unchanged,
            Outcome::Skipped(_) => &mut self.skipped,
            Outcome::Damaged(_) => &mut self.damaged,
        };
        *counter = counter.saturating_add(1);
    }

    fn done(&self) -> u64 {
        let done = [
            self.added,
            self.replaced,
            self.unchanged,
            self.skipped,
            self.damaged,
        ];
        done.into_iter().fold(0, u64::saturating_add)
    }
}

/// How a user of the archive stands to the store.
enum Verdict {
    New,
    Same,
    /// The store has another user of that id.
    Differs(String),
    /// The store has one of that id who cannot be read.
    Damaged(String),
    /// Another user has the e-mail address.
    Taken(String),
    /// There is nobody of that id, but somebody has the picture.
    TakenPicture(String),
}

async fn verdict(store: &Arc<dyn Store>, user: &WholeUser) -> Result<Verdict, storage::Error> {
    let account = &user.account;
    if let Some(email) = &account.email {
        match store.account_by_email(email).await {
            Ok(holder) if holder.user_id != account.user_id => {
                let reason = format!("{email} is the address of user {}", holder.user_id);
                return Ok(Verdict::Taken(reason));
            }
            // Whose account is damaged is told below, or by the write.
            Ok(_) | Err(storage::Error::NotFound(_) | storage::Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    match store.account(&account.user_id).await {
        Ok(stored) if stored == *account => {}
        Ok(_) => return Ok(Verdict::Differs("the accounts differ".to_owned())),
        Err(storage::Error::NotFound(_)) => return new(store, user).await,
        Err(error) => return unreadable_here(error),
    }
    let stored = match store.profile(&account.user_id).await {
        Ok(stored) => stored,
        Err(error) => return unreadable_here(error),
    };
    if stored != user.profile && !is_same_with_a_new_id(store, &stored, &user.profile).await? {
        return Ok(Verdict::Differs("the profiles differ".to_owned()));
    }
    let Some(picture) = &stored.picture else {
        return Ok(Verdict::Same);
    };
    for rendition in &user.renditions {
        match store.rendition(picture.id, rendition.size_px).await {
            Ok(stored) if stored.bytes == rendition.bytes => {}
            Ok(_) => return Ok(Verdict::Differs("the pictures differ".to_owned())),
            Err(error) => return unreadable_here(error),
        }
    }
    // An archive without the upload takes nothing away from a picture that has one.
    if let Some(original) = &user.making.original {
        match store.original(picture.id).await {
            Ok(Some(stored)) if stored == *original => {}
            Ok(_) => return Ok(Verdict::Differs("the kept uploads differ".to_owned())),
            Err(error) => return unreadable_here(error),
        }
    }
    Ok(Verdict::Same)
}

/// Of a user whose id nobody has here.
async fn new(store: &Arc<dyn Store>, user: &WholeUser) -> Result<Verdict, storage::Error> {
    match &user.profile.picture {
        Some(picture) if is_there(store, picture.id).await? => Ok(Verdict::TakenPicture(format!(
            "another user has the picture {}",
            picture.id
        ))),
        _ => Ok(Verdict::New),
    }
}

/// Whether a profile is the one in the archive but for the id of the picture, which somebody else has.
async fn is_same_with_a_new_id(
    store: &Arc<dyn Store>,
    stored: &Profile,
    archived: &Profile,
) -> Result<bool, storage::Error> {
    let (Some(here), Some(there)) = (&stored.picture, &archived.picture) else {
        return Ok(false);
    };
    let mut renamed = archived.clone();
    renamed.picture = Some(Picture {
        id: here.id,
        ..there.clone()
    });
    Ok(*stored == renamed && is_there(store, there.id).await?)
}

/// Whether there is a picture with an id.
async fn is_there(store: &Arc<dyn Store>, picture: PictureId) -> Result<bool, storage::Error> {
    match store.recipe(picture).await {
        Ok(_) | Err(storage::Error::Damaged { .. }) => Ok(true),
        Err(storage::Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is damaged in the store, or missing although something points at it, can be replaced.
fn unreadable_here(error: storage::Error) -> Result<Verdict, storage::Error> {
    match error {
        storage::Error::Damaged { .. } | storage::Error::NotFound(_) => {
            Ok(Verdict::Damaged(error.to_string()))
        }
        error => Err(error),
    }
}

async fn write(
    store: &Arc<dyn Store>,
    user: &WholeUser,
    on_conflict: OnConflict,
) -> Result<Done, storage::Error> {
    match written(store, user, on_conflict).await {
        // Concerns this user and what is beside them in the store, not the others.
        Err(error @ storage::Error::Damaged { .. }) => {
            Ok((Outcome::Damaged(error.to_string()), None))
        }
        // A picture id or an address that somebody else has, in the store or further up in the archive.
        Err(storage::Error::AlreadyExists(what)) if on_conflict != OnConflict::Fail => {
            let reason = format!("another user has the {what}");
            Ok((Outcome::Skipped(reason), None))
        }
        other => other,
    }
}

async fn written(
    store: &Arc<dyn Store>,
    user: &WholeUser,
    on_conflict: OnConflict,
) -> Result<Done, storage::Error> {
    let outcome = match (verdict(store, user).await?, on_conflict) {
        (Verdict::Same, _) => Outcome::Unchanged,
        (Verdict::New, _) | (Verdict::TakenPicture(_), OnConflict::Replace) => {
            let new_id = put(store, user, on_conflict, false).await?;
            return Ok((Outcome::Added, new_id));
        }
        (Verdict::Differs(_) | Verdict::Damaged(_), OnConflict::Replace) => {
            let new_id = put(store, user, on_conflict, true).await?;
            return Ok((Outcome::Replaced, new_id));
        }
        (Verdict::Damaged(reason), OnConflict::Skip) => Outcome::Damaged(reason),
        (
            Verdict::Differs(reason) | Verdict::Taken(reason) | Verdict::TakenPicture(reason),
            OnConflict::Skip,
        ) => Outcome::Skipped(reason),
        (Verdict::Differs(_) | Verdict::Damaged(_), OnConflict::Fail) => {
            return Err(storage::Error::AlreadyExists(storage::What::User));
        }
        (Verdict::TakenPicture(_), OnConflict::Fail) => {
            return Err(storage::Error::AlreadyExists(storage::What::Picture));
        }
        (Verdict::Taken(_), OnConflict::Fail | OnConflict::Replace) => {
            return Err(storage::Error::AlreadyExists(storage::What::Email));
        }
    };
    Ok((outcome, None))
}

/// Stores a user; with [`OnConflict::Replace`], with a new id for the picture if somebody else has that one. Answers with
/// the new id.
async fn put(
    store: &Arc<dyn Store>,
    user: &WholeUser,
    on_conflict: OnConflict,
    replace: bool,
) -> Result<Option<PictureId>, storage::Error> {
    let taken = match store.put_user(user.clone(), replace).await {
        Err(taken @ storage::Error::AlreadyExists(storage::What::Picture)) => taken,
        stored => return stored.map(|()| None),
    };
    let mut user = user.clone();
    let (OnConflict::Replace, Some(picture), Ok(random)) =
        (on_conflict, &mut user.profile.picture, auth::random())
    else {
        return Err(taken);
    };
    picture.id = PictureId::from_random(random);
    let new_id = picture.id;
    store.put_user(user, replace).await.map(|()| Some(new_id))
}

/// One reading of the archive, from begin to end, in a thread of its own.
struct Pass {
    users: mpsc::Receiver<WholeUser>,
    reader: tokio::task::JoinHandle<Result<Summary, archive::Error>>,
}

impl Pass {
    fn begin(file: &File, original_bytes_max: u64) -> Result<Self, Error> {
        let input = file
            .try_clone()
            .and_then(|mut input| input.rewind().map(|()| input))
            .map_err(unreadable)?;
        let (sender, users) = mpsc::channel(READ_AHEAD_USERS);
        let reader = tokio::task::spawn_blocking(move || {
            let input = BufReader::with_capacity(BUFFER_BYTES, input);
            archive::read(input, original_bytes_max, |user| {
                check(&user)?;
                let gone = |_| "nobody waits for it any more".to_owned();
                sender.blocking_send(user).map_err(gone)
            })
        });
        Ok(Self { users, reader })
    }

    /// The next users: as many as may be held at once. None at the end, whatever the reason.
    async fn next(&mut self) -> Option<Vec<WholeUser>> {
        let mut users = vec![self.users.recv().await?];
        let mut bytes = users.first().map_or(0, picture_bytes);
        while users.len() < USERS_AT_ONCE && bytes < BYTES_AT_ONCE {
            let Some(user) = self.users.recv().await else {
                break;
            };
            bytes = bytes.saturating_add(picture_bytes(&user));
            users.push(user);
        }
        Some(users)
    }

    /// What the archive holds, if all of it was as it must be.
    async fn end(self) -> Result<Summary, Error> {
        drop(self.users);
        Ok(self.reader.await.map_err(|_| Error::Cancelled)??)
    }
}

fn unreadable(source: io::Error) -> Error {
    Error::File {
        attempt: "read the archive from its begin".to_owned(),
        source,
    }
}
