//! All users as they were at one moment, for whoever reads them page by page while others write.
//!
//! Before the writing thread changes a user whom a snapshot has not come to yet, it puts by what they were: in a file
//! without a name, as an archive of one user. A page is put together between two commits, of the database and of what
//! was put by for it. A snapshot for which that fails is over; the write goes on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt as _;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;

use crate::domain::user::UserId;
use crate::storage::Error;
use crate::storage::WholeUser;
use crate::storage::archive;
use crate::storage::archive::Writer;
use crate::storage::audit::Section;
use crate::storage::data_dir;
use crate::storage::listed;
use crate::storage::listed::{ListedAccount, ListedUser};
use crate::storage::sled::audit;
use crate::storage::sled::change::Change;
use crate::storage::sled::commit::Asking;
use crate::storage::sled::engine::{Engine, guarded, io_failed};
use crate::storage::sled::lookup;
use crate::storage::sled::shared::Shared;

const ATTEMPT: &str = "keep users as they were when a snapshot began";

/// The snapshots that are in use.
#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<Vec<Weak<Mutex<Kept>>>>);

/// A snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    asking: Asking,
    kept: Arc<Mutex<Kept>>,
}

/// What was put by for a snapshot.
#[derive(Debug)]
struct Kept {
    /// Up to whom all were handed out.
    passed: Option<UserId>,
    /// Those behind, of whom something was written since, as they were; none: there was no such user.
    before: BTreeMap<UserId, Option<Was>>,
    file: File,
    length: u64,
    failed: Option<Error>,
}

/// Somebody who was put by.
#[derive(Debug)]
struct Was {
    damage: Vec<Error>,
    /// Where the archive of the user lies, and how long it is; none of one who could not be read.
    place: Option<(u64, usize)>,
}

/// Users that come one after the other.
struct Page {
    users: Vec<ListedUser>,
    /// Whether there is nobody behind them.
    is_last: bool,
}

impl Snapshots {
    /// Begins a snapshot of what the database holds. To be called between two commits.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] without a file to put users by.
    pub(super) fn begin(&self, shared: &Shared, asking: Asking) -> Result<Snapshot, Error> {
        let file = data_dir::unnamed_file(&shared.data_dir);
        let kept = Arc::new(Mutex::new(Kept {
            passed: None,
            before: BTreeMap::new(),
            file: file.map_err(|error| io_failed(ATTEMPT, error))?,
            length: 0,
            failed: None,
        }));
        self.all().push(Arc::downgrade(&kept));
        Ok(Snapshot { asking, kept })
    }

    /// Puts by, for the snapshots in use, whoever is about to be changed.
    pub(super) fn keep(&self, engine: &Engine, shared: &Shared, changes: &[&Change]) {
        let mut all = self.all();
        all.retain(|kept| kept.strong_count() > 0);
        for kept in all.iter().filter_map(Weak::upgrade) {
            let concerned = changes
                .iter()
                .filter_map(|change| concerned(engine, change));
            for user in concerned {
                locked(&kept).keep(engine, shared, user);
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Weak<Mutex<Kept>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl listed::Snapshot for Snapshot {
    async fn users(&mut self, count: usize, bytes_max: u64) -> Result<Vec<ListedUser>, Error> {
        loop {
            let kept = Arc::clone(&self.kept);
            let page = move |engine: &Engine| locked(&kept).page(engine, count, bytes_max);
            let Page { users, is_last } = self.asking.read_alone(page).await?;
            if is_last || !users.is_empty() {
                return Ok(users);
            }
        }
    }
}

impl Kept {
    /// Puts somebody by, unless that was done or they were handed out.
    fn keep(&mut self, engine: &Engine, shared: &Shared, user: UserId) {
        let is_passed = self.passed.as_ref().is_some_and(|passed| user <= *passed);
        if is_passed || self.failed.is_some() || self.before.contains_key(&user) {
            return;
        }
        match guarded(ATTEMPT, || self.was(engine, shared, &user)) {
            Ok(was) => drop(self.before.insert(user, was)),
            Err(error) => {
                tracing::warn!(%error, "an export can not go on: users are changed that it has not come to yet");
                self.failed = Some(error);
                // Whoever reads it may hear of that late.
                self.before.clear();
                let _ = self.file.set_len(0);
            }
        }
    }

    fn was(
        &mut self,
        engine: &Engine,
        shared: &Shared,
        user: &UserId,
    ) -> Result<Option<Was>, Error> {
        let Some(ListedUser { whole, damage, .. }) = lookup::user(engine, user)? else {
            return Ok(None);
        };
        let place = match whole {
            None => None,
            Some(whole) => {
                let bytes = written(&whole)?;
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                shared.check_room_to_spare(length)?;
                let offset = self.length;
                let put = self.file.write_all_at(&bytes, offset);
                put.map_err(|error| io_failed(ATTEMPT, error))?;
                self.length = offset.saturating_add(length);
                Some((offset, bytes.len()))
            }
        };
        Ok(Some(Was { damage, place }))
    }

    /// Some of the users that come next: a bounded piece of work, as nobody can write meanwhile. Of those who were not
    /// there when the snapshot began there may be any number, and then nobody is found this time.
    fn page(&mut self, engine: &Engine, count: usize, bytes_max: u64) -> Result<Page, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let accounts = lookup::accounts(engine, self.passed.as_ref(), count)?;
        let upto = accounts.last().map(|account| account.user_id.clone());
        let end = upto.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let is_last = upto.is_none();
        let mut next: BTreeMap<UserId, Option<ListedAccount>> = accounts
            .into_iter()
            .map(|account| (account.user_id.clone(), Some(account)))
            .collect();
        // Whoever was changed since is read as they were.
        let changed = self.before.range((Bound::Unbounded, end));
        next.extend(changed.map(|(user, _)| (user.clone(), None)));
        let mut users = Vec::new();
        let mut bytes = 0_u64;
        for (user_id, account) in next {
            let user = match account {
                Some(account) => Some(lookup::listed(engine, account)?),
                None => self.put_by(&user_id)?,
            };
            self.before.remove(&user_id);
            self.passed = Some(user_id);
            bytes = bytes.saturating_add(user.as_ref().map_or(0, lookup::listed_bytes));
            users.extend(user);
            if users.len() >= count || bytes >= bytes_max {
                return Ok(Page {
                    users,
                    is_last: false,
                });
            }
        }
        Ok(Page { users, is_last })
    }

    /// Somebody who was changed since, as they were; none: there was no such user.
    fn put_by(&self, user_id: &UserId) -> Result<Option<ListedUser>, Error> {
        let Some(Some(Was { damage, place })) = self.before.get(user_id) else {
            return Ok(None);
        };
        let whole = match place {
            None => None,
            Some((offset, length)) => {
                let mut bytes = vec![0; *length];
                let read = self.file.read_exact_at(&mut bytes, *offset);
                read.map_err(|error| io_failed(ATTEMPT, error))?;
                Some(read_back(&bytes)?)
            }
        };
        Ok(Some(ListedUser {
            user_id: user_id.clone(),
            whole,
            damage: damage.clone(),
        }))
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whose records or picture a change writes.
fn concerned(engine: &Engine, change: &Change) -> Option<UserId> {
    match change {
        Change::If { change, .. } => concerned(engine, change),
        Change::CreateUser { account, .. } => Some(account.user_id.clone()),
        Change::PutUser { user, .. } => Some(user.account.user_id.clone()),
        Change::SetPasswordHash { user, .. }
        | Change::DeleteUser { user }
        | Change::Rename { user, .. }
        | Change::ReplacePicture { user, .. }
        | Change::RemovePicture { user, .. } => Some(user.clone()),
        Change::Mend { entry, .. } => match entry.section {
            Section::Profiles => lookup::user_of_key(&entry.key).ok(),
            Section::Pictures => {
                let picture = audit::id(&entry.key).ok()?;
                Some(lookup::manifest(engine, picture).ok()?.owner)
            }
            // Nothing that is a user's.
            _ => None,
        },
        // The same in another encoding.
        Change::Forward { .. } => None,
    }
}

/// A user as an archive.
fn written(user: &WholeUser) -> Result<Vec<u8>, Error> {
    let mut archive = Writer::begin(Vec::new(), user.account.created_at).map_err(unwritten)?;
    archive.add(slice::from_ref(user)).map_err(unwritten)?;
    let (bytes, _) = archive.finish().map_err(unwritten)?;
    Ok(bytes)
}

/// The user of such an archive.
fn read_back(bytes: &[u8]) -> Result<WholeUser, Error> {
    let mut found = None;
    let read = archive::read(bytes, u64::MAX, |user| {
        found = Some(user);
        Ok(())
    });
    read.map_err(unwritten)?;
    let lost = || io_failed(ATTEMPT, io::ErrorKind::UnexpectedEof.into());
    found.ok_or_else(lost)
}

fn unwritten(error: archive::Error) -> Error {
    Error::Io {
        attempt: ATTEMPT,
        source: Arc::new(error),
    }
}
