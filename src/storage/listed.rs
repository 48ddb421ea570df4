//! Users as they are read from page to page: with what can be read of each, so that one who is damaged does not hide
//! those behind.

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
