//! How an account is stored: under the user's id; and the way from an e-mail address to it.

use serde::Deserialize;
use serde::Serialize;

use crate::domain::Timestamp;
use crate::domain::user::Account;
use crate::domain::user::Email;
use crate::domain::user::UserId;
use crate::storage::record::First;
use crate::storage::record::Record;

/// Version 1 of [`AccountRecord`]: every account had an e-mail address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AccountRecordV1 {
    /// Log-in name as typed.
    pub email: Email,
    /// The password's hash in PHC string format.
    pub password_hash: Option<String>,
    /// When the account was made, in microseconds since the Unix epoch.
    pub created_at: Timestamp,
}

impl Record for AccountRecordV1 {
    const KIND: &'static str = "account";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}

/// An [`Account`] without the id, which is its key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AccountRecord {
    /// Log-in name as typed, or none.
    pub email: Option<Email>,
    /// The password's hash in PHC string format.
    pub password_hash: Option<String>,
    /// When the account was made, in microseconds since the Unix epoch.
    pub created_at: Timestamp,
}

impl Record for AccountRecord {
    const KIND: &'static str = "account";
    const VERSION: u8 = 2;
    type Previous = AccountRecordV1;

    fn migrate(previous: AccountRecordV1) -> Self {
        Self {
            email: Some(previous.email),
            password_hash: previous.password_hash,
            created_at: previous.created_at,
        }
    }
}

impl AccountRecord {
    /// The account of that user.
    #[must_use]
    pub fn into_account(self, user_id: UserId) -> Account {
        Account {
            user_id,
            email: self.email,
            password_hash: self.password_hash,
            created_at: self.created_at,
        }
    }
}

impl From<Account> for AccountRecord {
    fn from(account: Account) -> Self {
        Self {
            email: account.email,
            password_hash: account.password_hash,
            created_at: account.created_at,
        }
    }
}

/// Whose an e-mail address is. Stored under [`Email::key`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EmailRecord {
    /// The user with that address.
    pub user_id: UserId,
}

impl Record for EmailRecord {
    const KIND: &'static str = "email";
    const VERSION: u8 = 1;
    type Previous = First;

    fn migrate(previous: First) -> Self {
        match previous {}
    }
}
