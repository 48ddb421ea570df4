//! What a row of a Django project becomes: an account and a name, and what of it cannot be taken over. Pure.

use crate::auth::password;
use crate::domain::Timestamp;
use crate::domain::user::Account;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::UserId;
use crate::service::migrate::FromDjango;
use crate::storage::django;

/// What Django writes in front of an Argon2 hash in PHC format.
const ARGON2_PREFIX: &str = "argon2";
/// What Django writes in the place of a hash that no password fits.
const UNUSABLE: char = '!';

/// The account and the name of a row, with what could not be taken over; or why there can be none.
pub(super) fn account(
    row: &django::Row,
    from: &FromDjango,
) -> Result<(Account, DisplayName, Vec<String>), String> {
    if row.id.is_empty() {
        return Err("there is no id".to_owned());
    }
    let id = format!("{}{}", from.id_prefix, row.id);
    let user_id: UserId = id.parse().map_err(|error| format!("the id: {error}"))?;
    let email: Email =
        (row.email.parse()).map_err(|error| format!("the e-mail address: {error}"))?;
    if !row.is_active && !from.with_inactive {
        return Err("the user is not active".to_owned());
    }
    let mut problems = Vec::new();
    let password_hash = if row.is_active {
        hash(&row.password, &mut problems)
    } else {
        problems.push("the user is not active: without a password here".to_owned());
        None
    };
    // A name that is an address would show everybody what was nobody's business.
    let mut names = row.names.iter().filter(|name| !name.contains('@'));
    let name = match names.next().map(|name| name.parse::<DisplayName>()) {
        Some(Ok(name)) => name,
        Some(Err(error)) => {
            problems.push(format!("the name: {error}"));
            DisplayName::from_email(&email)
        }
        None => DisplayName::from_email(&email),
    };
    let account = Account {
        user_id,
        email: Some(email),
        password_hash,
        created_at: Timestamp::from_micros(0),
    };
    Ok((account, name, problems))
}

/// The hash as it is verified here.
fn hash(stored: &str, problems: &mut Vec<String>) -> Option<String> {
    if stored.is_empty() || stored.starts_with(UNUSABLE) {
        return None;
    }
    let ours = stored
        .strip_prefix(ARGON2_PREFIX)
        .filter(|rest| rest.starts_with('$'));
    // `argon2$argon2id$…` there is `$argon2id$…` everywhere else.
    let hash = ours.unwrap_or(stored);
    match password::check_foreign(hash) {
        Ok(()) => Some(hash.to_owned()),
        Err(error) => {
            problems.push(format!("{error}: without a password here"));
            None
        }
    }
}
