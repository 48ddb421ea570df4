//! Takes over the users of a Django project: accounts with their password hashes, names, and pictures made anew by the
//! workers.
//!
//! A row that cannot be taken over does not stop the others; each is told of. Ids stay what they are, so that tokens of
//! the project stay valid, unless a prefix is asked for. Who is there already with that id and address is left alone,
//! which is how an interrupted import goes on; only a picture that did not come at first is tried again.

mod row;

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::picture::Picture;
use crate::domain::picture::Rendition;
use crate::domain::user::Account;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::service::Error;
use crate::service::admin::Admin;
use crate::service::admin::Event;
use crate::service::admin::Events;
use crate::service::chain;
use crate::service::migrate;
use crate::service::migrate::OnConflict;
use crate::service::migrate::Outcome;
use crate::service::pictures::described;
use crate::service::pictures::making;
use crate::storage;
use crate::storage::Edit;
use crate::storage::WholeUser;
use crate::storage::django;
use crate::storage::django::Project;
use crate::storage::upkeep::Making;

/// Rows that are read ahead.
const READ_AHEAD_ROWS: usize = 16;
/// What to take over, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FromDjango {
    /// Where it is.
    pub project: Project,
    /// What stands before an id here.
    pub id_prefix: String,
    /// Whether users that may not log in there come, too: without their password.
    pub with_inactive: bool,
    /// What becomes of users who are there already and differ.
    pub on_conflict: OnConflict,
    /// Write nothing.
    pub dry_run: bool,
}

/// What became of a row.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Row {
    /// The id there.
    pub old_id: String,
    /// The id here; none: not taken over.
    pub user_id: Option<UserId>,
    /// The e-mail address, as it is there.
    pub email: String,
    /// What became of the user.
    pub outcome: Outcome,
    /// Whether a picture came with them.
    pub picture: bool,
    /// What did not come with them, and why.
    pub problems: Vec<String>,
}

/// What became of all rows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Imported {
    /// Rows there are.
    pub rows: u64,
    /// How many users are new.
    pub added: u64,
    /// How many took the place of another.
    pub replaced: u64,
    /// How many were there.
    pub unchanged: u64,
    /// How many stayed out.
    pub skipped: u64,
    /// How many were there without their picture, and have it now.
    pub completed: u64,
    /// How many could not be written, as what the store has in their place is damaged.
    pub damaged: u64,
    /// How many of the new and replaced have a picture.
    pub pictures: u64,
    /// How many of them, and of those who were there, are without something that they had.
    pub with_problems: u64,
}

impl Admin {
    /// Imports the project.
    ///
    /// # Errors
    ///
    /// [`migrate::Error::Django`] if it cannot be read; [`migrate::Error::Conflict`] with [`OnConflict::Fail`]: nothing
    /// was written then. [`Error::Storage`] if nothing can be written; running it again goes on from there.
    pub(in crate::service) async fn import_django(
        &self,
        from: FromDjango,
        events: &Events,
    ) -> Result<(), Error> {
        if from.on_conflict == OnConflict::Fail {
            self.refuse_conflicts(&from).await?;
        }
        let at_once = self.decoding().await.map_err(Error::NoWorker)?.at_once;
        let mut sum = Imported::default();
        let (rows, reading) = rows(&from.project);
        let told = stream::unfold(rows, |mut rows| async move {
            rows.recv().await.map(|row| (row, rows))
        });
        let from = &from;
        let taken = told.map(move |row| self.taken(row, from));
        let mut taken = std::pin::pin!(taken.buffered(at_once));
        while let Some(row) = taken.next().await {
            let row = row?;
            sum.count(&row);
            events.tell(Event::Row(row)).await?;
            events.working("users", sum.rows, None).await?;
        }
        reading.await.map_err(|_| Error::Cancelled)??;
        events.tell(Event::ImportedDjango(sum)).await?;
        match sum.damaged {
            0 => Ok(()),
            damaged => Err(migrate::Error::DamagedPlaces { damaged }.into()),
        }
    }

    /// Whether somebody else has an id or an address of the project, in the store or in the project itself.
    async fn refuse_conflicts(&self, from: &FromDjango) -> Result<(), Error> {
        let (mut rows, reading) = rows(&from.project);
        // Checksums: a project may have millions of addresses.
        let mut addresses = HashSet::new();
        while let Some(row) = rows.recv().await {
            let Ok((account, _, _)) = row::account(&row, from) else {
                continue;
            };
            let address = account.email.as_ref().map(Email::key);
            let is_new = address.is_none_or(|key| addresses.insert(xxh3_128(key.as_bytes())));
            let reason = match self.there(&account).await? {
                There::Nobody | There::Same if is_new => continue,
                There::Nobody | There::Same => {
                    "another user of the project has the address".to_owned()
                }
                There::Conflict(reason) | There::Damaged(reason) | There::Taken(reason) => reason,
            };
            let user = account.user_id.to_string();
            return Err(migrate::Error::Conflict { user, reason }.into());
        }
        Ok(reading.await.map_err(|_| Error::Cancelled)??)
    }

    /// Boxed: a future that the compiler need not look into.
    fn taken<'a>(
        &'a self,
        row: django::Row,
        from: &'a FromDjango,
    ) -> BoxFuture<'a, Result<Row, Error>> {
        Box::pin(self.take_over(row, from))
    }

    /// Takes one user over.
    async fn take_over(&self, row: django::Row, from: &FromDjango) -> Result<Row, Error> {
        let mut told = Row {
            old_id: row.id.clone(),
            user_id: None,
            email: row.email.clone(),
            outcome: Outcome::Unchanged,
            picture: false,
            problems: Vec::new(),
        };
        let (mut account, name, problems) = match row::account(&row, from) {
            Ok(found) => found,
            Err(reason) => {
                told.outcome = Outcome::Skipped(reason);
                return Ok(told);
            }
        };
        account.created_at = row.created_at.unwrap_or_else(self.clock);
        let replace = match self.there(&account).await? {
            There::Nobody => false,
            There::Same => {
                if let Some(file) = &row.picture {
                    self.complete(&account.user_id, file, from, &mut told)
                        .await?;
                }
                told.user_id = Some(account.user_id);
                return Ok(told);
            }
            There::Conflict(_) | There::Damaged(_) if from.on_conflict == OnConflict::Replace => {
                true
            }
            There::Conflict(reason) | There::Taken(reason) => {
                told.outcome = Outcome::Skipped(reason);
                return Ok(told);
            }
            There::Damaged(reason) => {
                told.outcome = Outcome::Damaged(reason);
                return Ok(told);
            }
        };
        told.problems = problems;
        let picture = match &row.picture {
            Some(file) => self.picture(file, from, &mut told.problems).await?,
            None => None,
        };
        told.picture = picture.is_some();
        told.user_id = Some(account.user_id.clone());
        told.outcome = if replace {
            Outcome::Replaced
        } else {
            Outcome::Added
        };
        if from.dry_run {
            return Ok(told);
        }
        let user = whole(account, name, picture);
        match self.store.put_user(user, replace).await {
            // Another row has it, or somebody has registered with it meanwhile.
            Err(storage::Error::AlreadyExists(what)) => {
                told.user_id = None;
                told.picture = false;
                told.outcome = Outcome::Skipped(format!("another user has the {what}"));
            }
            // Concerns this user and what is beside them in the store, not the others.
            Err(error @ storage::Error::Damaged { .. }) => {
                told.user_id = None;
                told.picture = false;
                told.outcome = Outcome::Damaged(error.to_string());
            }
            outcome => outcome?,
        }
        Ok(told)
    }

    /// Tries a picture again that did not come with its user, who has changed nothing since.
    async fn complete(
        &self,
        user: &UserId,
        file: &str,
        from: &FromDjango,
        told: &mut Row,
    ) -> Result<(), Error> {
        let expected = match self.store.profile(user).await {
            Ok(profile) => profile,
            // Found by those who look for damage.
            Err(storage::Error::NotFound(_) | storage::Error::Damaged { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if expected.picture.is_some() || expected.updated_at != expected.created_at {
            return Ok(());
        }
        let Some(made) = self.picture(file, from, &mut told.problems).await? else {
            return Ok(());
        };
        if !from.dry_run {
            let changed_at = made.picture.uploaded_at.max(expected.created_at);
            let making = Making {
                changed_at: Some(changed_at),
                ..made.making
            };
            let edit = Edit::ReplacePicture {
                picture: made.picture,
                renditions: made.renditions,
                making: Box::new(making),
            };
            match self.store.edit_if(expected, edit).await {
                // They were quicker.
                Err(storage::Error::Changed | storage::Error::NotFound(_)) => return Ok(()),
                Err(error @ storage::Error::Damaged { .. }) => {
                    told.outcome = Outcome::Damaged(error.to_string());
                    return Ok(());
                }
                outcome => drop(outcome?),
            }
        }
        told.picture = true;
        told.outcome = Outcome::Completed;
        Ok(())
    }

    /// How a user stands to the store.
    async fn there(&self, account: &Account) -> Result<There, Error> {
        let key = |account: &Account| account.email.as_ref().map(Email::key);
        match self.store.account(&account.user_id).await {
            Ok(found) if key(&found) == key(account) => return Ok(There::Same),
            Ok(found) => {
                let reason = match found.email {
                    Some(email) => format!("the user with that id has the address {email}"),
                    None => "the user with that id has no address".to_owned(),
                };
                return Ok(There::Conflict(reason));
            }
            Err(storage::Error::NotFound(_)) => {}
            Err(error @ storage::Error::Damaged { .. }) => {
                return Ok(There::Damaged(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        let Some(email) = &account.email else {
            return Ok(There::Nobody);
        };
        match self.store.account_by_email(email).await {
            Ok(found) => Ok(There::Taken(format!(
                "user {} has the address",
                found.user_id
            ))),
            // Where the address leads to is damaged: the write tells.
            Err(storage::Error::NotFound(_) | storage::Error::Damaged { .. }) => Ok(There::Nobody),
            Err(error) => Err(error.into()),
        }
    }

    /// The picture, made anew; none with a problem if it cannot be.
    async fn picture(
        &self,
        file: &str,
        from: &FromDjango,
        problems: &mut Vec<String>,
    ) -> Result<Option<Made>, Error> {
        let (media, name) = (from.project.media.clone(), file.to_owned());
        let bytes_max = self.config.http.upload_bytes_max;
        let read = tokio::task::spawn_blocking(move || {
            let bytes = django::picture(&media, &name, bytes_max)?;
            Ok::<_, String>((bytes, django::picture_time(&media, &name)))
        });
        let (bytes, time) = match read.await.map_err(|_| Error::Cancelled)? {
            Ok(read) => read,
            Err(problem) => {
                problems.push(problem);
                return Ok(None);
            }
        };
        let bytes = Bytes::from(bytes);
        match self.rendered(&bytes, None, None).await {
            Ok(rendered) => Ok(Some(Made {
                picture: described(&rendered, time.unwrap_or_else(self.clock))?,
                renditions: rendered.renditions,
                making: making(&self.config.picture, bytes, None),
            })),
            Err(error @ (Error::Picture(_) | Error::DecoderDied { .. })) => {
                problems.push(format!("the picture {file:?}: {}", chain(&error)));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Imported {
    fn count(&mut self, row: &Row) {
        self.rows = self.rows.saturating_add(1);
        let counter = match &row.outcome {
            Outcome::Added => &mut self.added,
            Outcome::Replaced => &mut self.replaced,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Completed => &mut self.completed,
            Outcome::Skipped(_) => &mut self.skipped,
            Outcome::Damaged(_) => &mut self.damaged,
        };
        *counter = counter.saturating_add(1);
        if matches!(row.outcome, Outcome::Added | Outcome::Replaced) {
            self.pictures = self.pictures.saturating_add(u64::from(row.picture));
        }
        // Of those who are there already: their picture did not come this time, either.
        if !matches!(row.outcome, Outcome::Skipped(_) | Outcome::Damaged(_)) {
            let problems = u64::from(!row.problems.is_empty());
            self.with_problems = self.with_problems.saturating_add(problems);
        }
    }
}

/// A picture with all that is stored of it.
struct Made {
    picture: Picture,
    renditions: Vec<Rendition>,
    making: Making,
}

/// How a user of the project stands to the store.
enum There {
    Nobody,
    /// That id with that address: taken over before, or the very same.
    Same,
    /// The id is somebody else's.
    Conflict(String),
    /// The id is of somebody who cannot be read.
    Damaged(String),
    /// The address is somebody else's.
    Taken(String),
}

type Reading = JoinHandle<Result<(), migrate::Error>>;

/// Reads the project in a thread of its own.
fn rows(project: &Project) -> (mpsc::Receiver<django::Row>, Reading) {
    let (sender, rows) = mpsc::channel(READ_AHEAD_ROWS);
    let project = project.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let read = django::read(&project, |row| sender.blocking_send(row).is_ok());
        Ok(read?)
    });
    (rows, reading)
}

fn whole(account: Account, name: DisplayName, made: Option<Made>) -> WholeUser {
    let (picture, renditions, making) = match made {
        Some(made) => (Some(made.picture), made.renditions, made.making),
        None => (None, Vec::new(), Making::default()),
    };
    let created_at = account.created_at;
    let uploaded_at = picture.as_ref().map(|picture| picture.uploaded_at);
    let profile = Profile {
        user_id: account.user_id.clone(),
        name,
        picture,
        created_at,
        updated_at: uploaded_at.map_or(created_at, |time| time.max(created_at)),
    };
    WholeUser {
        account,
        profile,
        renditions,
        making,
    }
}
