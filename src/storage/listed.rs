//! Users as they are read from page to page, of one moment where it matters: with what can be read of each, so that one
//! who is damaged does not hide those behind.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::user::Account;
use crate::domain::user::UserId;
use crate::storage::Error;
use crate::storage::WholeUser;

/// An account in a list.
#[derive(Clone, Debug)]
pub struct ListedAccount {
    /// Whose.
    pub user_id: UserId,
    /// The account, or [`Error::Damaged`].
    pub account: Result<Account, Error>,
}

/// A user in a list, with all that is theirs and can be read.
#[derive(Clone, Debug)]
pub struct ListedUser {
    /// Who.
    pub user_id: UserId,
    /// The user. One whose picture is damaged has none here, and a damaged upload was not kept; none: the account or
    /// the profile is damaged.
    pub whole: Option<WholeUser>,
    /// What is damaged and missing above, each an [`Error::Damaged`].
    pub damage: Vec<Error>,
}

/// Everybody as they were at one moment, for one walk in the order of their ids.
#[async_trait]
pub trait Snapshot: Debug + Send {
    /// The users that come next with all that is theirs: at most `count`, and no more once their pictures and kept uploads
    /// have `bytes_max` bytes, but one at least. What is damaged is left out and named: whoever moves away takes along all
    /// that can be read. No users: there are no more.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the walk cannot go on, [`Error::Io`]; [`Error::DiskFull`] if there was no room for what was
    /// changed meanwhile. The snapshot is over then.
    async fn users(&mut self, count: usize, bytes_max: u64) -> Result<Vec<ListedUser>, Error>;
}

impl From<WholeUser> for ListedUser {
    fn from(user: WholeUser) -> Self {
        Self {
            user_id: user.account.user_id.clone(),
            whole: Some(user),
            damage: Vec::new(),
        }
    }
}

impl From<Account> for ListedAccount {
    fn from(account: Account) -> Self {
        Self {
            user_id: account.user_id.clone(),
            account: Ok(account),
        }
    }
}
