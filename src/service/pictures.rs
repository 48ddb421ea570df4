//! The image storage service: validates and processes an upload, then stores it in the place of the one before.

use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::auth;
use crate::config;
use crate::domain::Timestamp;
use crate::domain::picture::Crop;
use crate::domain::picture::Picture;
use crate::domain::picture::PictureId;
use crate::domain::picture::Rendition;
use crate::domain::user::Profile;
use crate::domain::user::UserId;
use crate::imaging::Rendered;
use crate::service::App;
use crate::service::Error;
use crate::service::Stored;
use crate::service::idempotence::Ticket;
use crate::service::metrics::{Stage, Stages};
use crate::storage;
use crate::storage::Edit;
use crate::storage::What;
use crate::storage::upkeep::{Making, Original};
use crate::workers;
use crate::workers::Pool;

/// Raised when the renderer makes other pictures of the same uploads with the same settings.
const RENDERER: u32 = 1;

impl App {
    /// Replaces the caller's picture by what the upload shows; the picture before is gone with the same commit.
    ///
    /// With `expected`, only if the caller's profile is that one in the moment of the replacement.
    ///
    /// With a `ticket`, the store remembers its key in the same commit.
    ///
    /// How long its stages took is noted, whatever comes of it.
    ///
    /// Once the decoded picture is handed to the store the replacement happens wholly or not at all, whether or not
    /// anyone still waits for the answer.
    ///
    /// # Errors
    ///
    /// [`Error::Picture`] for an unusable upload, [`Error::Busy`], [`Error::DecoderDied`], [`Error::UnknownCaller`],
    /// [`Error::Storage`]. The old picture stays as it was.
    pub async fn replace_picture(
        &self,
        caller: &UserId,
        upload: Bytes,
        crop: Option<Crop>,
        expected: Option<Profile>,
        ticket: Option<&Ticket>,
        stages: &Stages,
    ) -> Result<Profile, Error> {
        let note = |stage, took| {
            self.metrics.stage(stage, took);
            stages.note(stage, took);
        };
        let over = |stage, begin: Instant| note(stage, begin.elapsed());
        let begin = Instant::now();
        let turn = self.turns.wait(caller).await;
        over(Stage::Turn, begin);
        let turn = turn?;
        let begin = Instant::now();
        let work = turn.begin();
        let rendering = self.workers.render(upload.clone(), crop, turn.is_slow());
        let (rendered, took) = rendering.await;
        over(Stage::Render, begin);
        work.took(took.processor.unwrap_or_default());
        for (stage, took) in [
            (Stage::Decode, took.decode),
            (Stage::Resize, took.resize),
            (Stage::Encode, took.encode),
        ] {
            if let Some(took) = took {
                note(stage, took);
            }
        }
        let rendered = rendered.map_err(|error| not_rendered(error, &upload))?;
        drop(turn);
        self.metrics.decoded(rendered.decoder);
        let picture = described(&rendered, self.now())?;
        let making = Making {
            keyed: ticket.map(|ticket| self.keyed(ticket, picture.uploaded_at)),
            ..making(&self.config.picture, upload, crop)
        };
        let begin = Instant::now();
        let renditions = rendered.renditions;
        let replaced = match expected {
            None => {
                self.store
                    .store_picture(caller, picture, renditions, making)
                    .await
            }
            Some(expected) => {
                let edit = Edit::ReplacePicture {
                    picture,
                    renditions,
                    making: Box::new(making),
                };
                self.store.edit_if(expected, edit).await
            }
        };
        over(Stage::Commit, begin);
        replaced.map_err(unknown_caller)
    }

    /// Takes the caller's picture away. With `expected`, only if their profile is that one.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCaller`], [`Error::Storage`].
    pub async fn remove_picture(
        &self,
        caller: &UserId,
        expected: Option<Profile>,
    ) -> Result<Profile, Error> {
        let now = self.now();
        let removed = match expected {
            None => self.store.remove_picture(caller, now).await,
            Some(expected) => {
                self.store
                    .edit_if(expected, Edit::RemovePicture { now })
                    .await
            }
        };
        removed.map_err(unknown_caller)
    }

    /// A rendition of a live picture.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]: no such picture or size, or damage.
    pub async fn rendition(&self, picture: PictureId, size_px: u16) -> Result<Stored, Error> {
        Ok(self.store.rendition(picture, size_px).await?)
    }

    /// The picture of users who have none, in a configured size.
    #[must_use]
    pub fn placeholder(&self, size_px: u16) -> Option<&Stored> {
        let found = self.placeholder.iter().find(|(size, _)| *size == size_px);
        found.map(|(_, stored)| stored)
    }
}

/// Names the settings that pictures are made with: two pictures of one upload with the same are the same.
pub(super) fn recipe(picture: &config::Picture) -> u64 {
    let settings = json!([
        RENDERER,
        picture.sizes_px,
        picture.fit,
        picture.background,
        picture.quality,
        picture.progressive
    ]);
    xxh3_64(settings.to_string().as_bytes())
}

/// How a picture of an upload is made: what is stored of that beside the picture.
pub(super) fn making(picture: &config::Picture, upload: Bytes, crop: Option<Crop>) -> Making {
    let original = Original {
        bytes: upload,
        crop,
    };
    Making {
        recipe: Some(recipe(picture)),
        original: picture.keep_original.then_some(original),
        ..Making::default()
    }
}

/// What there is to say of a new picture, which gets an id of its own.
pub(super) fn described(
    rendered: &Rendered,
    uploaded_at: Timestamp,
) -> Result<Picture, auth::NoRandomness> {
    let sizes = rendered.renditions.iter();
    Ok(Picture {
        id: PictureId::from_random(auth::random()?),
        width: rendered.width,
        height: rendered.height,
        sizes_px: sizes.map(|rendition| rendition.size_px).collect(),
        thumbhash: rendered.thumbhash.clone(),
        applied: rendered.applied.clone(),
        uploaded_at,
    })
}

/// What the pool's error means for the upload.
pub(super) fn not_rendered(error: workers::Error, upload: &[u8]) -> Error {
    match error {
        workers::Error::Busy { queue_max } => Error::Busy { queue_max },
        workers::Error::Picture(cause) => Error::Picture(cause),
        workers::Error::Died(death) => Error::DecoderDied {
            sha256: auth::sha256(upload),
            death,
        },
        workers::Error::Killed(_)
        | workers::Error::Dying(_)
        | workers::Error::Start(_)
        | workers::Error::NotLockedIn(_) => Error::NoWorker(error),
    }
}

/// The picture of users who have none, in every configured size.
pub(super) async fn placeholder(
    workers: &Pool,
    now: Timestamp,
) -> Result<Vec<(u16, Stored)>, workers::Error> {
    let renditions = workers.placeholder().await?;
    let stored = renditions.into_iter().map(|Rendition { size_px, bytes }| {
        let checksum = xxh3_128(&bytes);
        (
            size_px,
            Stored {
                bytes,
                checksum,
                uploaded_at: now,
            },
        )
    });
    Ok(stored.collect())
}

/// A caller whose user is gone has a token that is void.
pub(super) fn unknown_caller(error: storage::Error) -> Error {
    match error {
        storage::Error::NotFound(What::User) => Error::UnknownCaller,
        other => Error::Storage(other),
    }
}
