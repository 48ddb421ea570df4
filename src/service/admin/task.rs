//! What can be asked for and what is told of it: plain data, which crosses the admin socket as JSON.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error as _;
use tokio::sync::mpsc;

use crate::domain::Timestamp;
use crate::domain::picture::PictureId;
use crate::domain::user::DisplayName;
use crate::domain::user::Email;
use crate::domain::user::UserId;
use crate::service::Error;
use crate::service::audit::Collection;
use crate::service::audit::Found;
use crate::service::audit::Summary;
use crate::service::migrate::Compacted;
use crate::service::migrate::Exported;
use crate::service::migrate::FromDjango;
use crate::service::migrate::Imported;
use crate::service::migrate::ImportedFromDjango;
use crate::service::migrate::OnConflict;
use crate::service::migrate::Rerender;
use crate::service::migrate::Rerendered;
use crate::service::migrate::Row;
use crate::service::migrate::Versions;
use crate::storage::audit::Section;

/// What can be asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Add a user; without a password one who cannot log in with one.
    AddUser {
        /// Log-in name.
        email: Email,
        /// Display name; none: what stands before the `@`.
        name: Option<DisplayName>,
        /// What tokens call the user; none: a new random id.
        id: Option<UserId>,
        /// The password.
        password: Option<Password>,
    },
    /// List all users.
    ListUsers,
    /// Delete a user and all that is theirs.
    DeleteUser {
        /// Id or e-mail address.
        user: String,
    },
    /// Make an access token.
    IssueToken {
        /// Id or e-mail address.
        user: String,
        /// How long it holds, in seconds; none: `auth.access_ttl_s`.
        ttl_s: Option<u64>,
    },
    /// Remove what no user needs; find profiles whose picture cannot be read.
    CollectGarbage(Collection),
    /// Compare everything that is stored with its checksums and with each other.
    CheckStore,
    /// Write all users and pictures as an archive; it comes as [`Event::Data`].
    Export,
    /// Read an archive, which comes with the task.
    Import {
        /// What becomes of users who are there already and differ.
        on_conflict: OnConflict,
    },
    /// Count the records by their versions; with `up`, write those of old versions anew.
    Records {
        /// Whether anything is written.
        up: bool,
    },
    /// Write the store anew without the space that it does not use.
    Compact,
    /// Make pictures anew with the sizes and the quality that are configured now.
    Rerender(Rerender),
    /// Take over the users of a Django project.
    ImportDjango(FromDjango),
}

impl Task {
    /// Whether a file comes with it.
    #[must_use]
    pub const fn takes_input(&self) -> bool {
        matches!(self, Self::Import { .. })
    }
}

/// What is told while a task runs, and how it ended: the last event is always [`Event::Done`] or [`Event::Failed`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A user was added.
    Added {
        /// The new id.
        user_id: UserId,
        /// Log-in name.
        email: Email,
        /// Display name.
        name: DisplayName,
    },
    /// A user there is.
    User {
        /// The id.
        user_id: UserId,
        /// Log-in name; none for users of an issuer elsewhere.
        email: Option<Email>,
        /// When the account was made.
        created_at: Timestamp,
    },
    /// A token was made.
    Token {
        /// The token.
        token: String,
    },
    /// A part of an audit was done.
    Progress {
        /// Of what.
        section: Section,
        /// How many were looked at.
        done: u64,
        /// How many there are, where that is known.
        of: Option<u64>,
    },
    /// An audit has found something.
    Found(Found),
    /// An audit has come to its end.
    Audited(Summary),
    /// Work goes on.
    Working {
        /// At what, in the plural.
        what: String,
        /// How many are done.
        done: u64,
        /// How many there are, where that is known.
        of: Option<u64>,
    },
    /// Something of a user that is damaged, and was passed over.
    Damaged {
        /// Whose.
        user_id: UserId,
        /// What, and what that means.
        reason: String,
    },
    /// The next bytes of an archive.
    Data(Chunk),
    /// An archive is whole.
    Exported(Exported),
    /// A user of an archive stays out.
    Skipped {
        /// Who.
        user_id: UserId,
        /// Why.
        reason: String,
    },
    /// A user of an archive has the picture with a new id, as another user has the one of the archive.
    NewPictureId {
        /// Who.
        user_id: UserId,
        /// The new one.
        picture_id: PictureId,
    },
    /// An archive was imported.
    Imported(Imported),
    /// How many records of which version there are.
    Versions(Versions),
    /// The store was written anew; none: this kind of store has no use for that.
    Compacted {
        /// Bytes before and after.
        compacted: Option<Compacted>,
    },
    /// A picture that was not made anew.
    NotRerendered {
        /// Whose.
        user_id: UserId,
        /// Why.
        reason: String,
    },
    /// Pictures were made anew.
    Rerendered(Rerendered),
    /// What became of a row of a Django project.
    Row(Row),
    /// A Django project was imported.
    ImportedDjango(ImportedFromDjango),
    /// All was done.
    Done,
    /// It was not done, or not all of it.
    Failed {
        /// Why, for whoever typed the command.
        sentence: String,
    },
}

/// A password on its way to being hashed. Never printed.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Password(String);

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Password> for String {
    fn from(password: Password) -> Self {
        password.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// A part of a file on its way to whoever asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk(pub Bytes);

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Text {
            base64: String,
        }
        let base64 = STANDARD.encode(&self.0);
        Text { base64 }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Text {
            base64: String,
        }
        let text = Text::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.base64).map_err(D::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

/// Where events go.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<Event>);

impl Events {
    pub(in crate::service) fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(sender)
    }

    /// Tells of an event.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if nobody listens any more: the work ends there.
    pub async fn tell(&self, event: Event) -> Result<(), Error> {
        self.0.send(event).await.map_err(|_| Error::Cancelled)
    }

    /// The same from a blocking thread.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(in crate::service) fn tell_blocking(&self, event: Event) -> Result<(), Error> {
        self.0.blocking_send(event).map_err(|_| Error::Cancelled)
    }

    /// Tells how far the work is.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(in crate::service) async fn working(
        &self,
        what: &str,
        done: u64,
        of: Option<u64>,
    ) -> Result<(), Error> {
        let what = what.to_owned();
        self.tell(Event::Working { what, done, of }).await
    }
}
