//! Makes pictures anew with the settings of now: of the upload where it was kept, else of the largest rendition.
//!
//! A picture never changes, so each gets a new id, and with it new URLs. Which settings a picture was made with is
//! noted with it (its recipe): those that have the recipe of now are left alone, so that running it again goes on where
//! it was. Of a rendition nothing larger than itself is made: sizes above it are left out. An upload that the limits or
//! the decoders of now refuse stays with the picture, which is made of the largest rendition then. A damaged upload is
//! gone for good, and with a damaged rendition the next smaller one serves.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde::Deserialize;
use serde::Serialize;
use tokio::time::sleep;

use crate::domain::picture::Applied;
use crate::domain::picture::Crop;
use crate::domain::picture::Fit;
use crate::domain::picture::Picture;
use crate::domain::picture::PictureId;
use crate::domain::picture::Rendition;
use crate::domain::user::UserId;
use crate::imaging::Rendered;
use crate::imaging::plain_jpeg_dimensions;
use crate::service::Error;
use crate::service::admin::Admin;
use crate::service::admin::Event;
use crate::service::admin::Events;
use crate::service::admin::sentence;
use crate::service::chain;
use crate::service::migrate;
use crate::service::pictures::described;
use crate::service::pictures::not_rendered;
use crate::service::pictures::recipe;
use crate::storage;
use crate::storage::What;
use crate::storage::upkeep::Making;
use crate::storage::upkeep::Original;

/// Users that are fetched at once.
const PAGE: usize = 200;
/// Pause before a picture is tried again that found no room among the server's uploads.
const PAUSE: Duration = Duration::from_millis(50);

/// How to make pictures anew.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Rerender {
    /// Only count what would be done.
    pub dry_run: bool,
}

/// What became of all pictures.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rerendered {
    /// Pictures looked at.
    pub pictures: u64,
    /// Made anew of the upload, or would be.
    pub from_original: u64,
    /// Made anew of the largest rendition, or would be.
    pub from_rendition: u64,
    /// Those of them whose upload was kept, but is refused now. A run that writes nothing does not find out.
    pub refused_originals: u64,
    /// Those of them whose upload was kept, but is damaged: it is given up.
    pub damaged_originals: u64,
    /// Those of them whose largest rendition is damaged: made of a smaller one, or would be.
    pub damaged_renditions: u64,
    /// Made with these settings already.
    pub unchanged: u64,
    /// Left alone: every configured size is larger than what there is.
    pub too_small: u64,
    /// Replaced or removed by their users meanwhile.
    pub gone: u64,
    /// Not made anew.
    pub failed: u64,
}

/// What became of one picture.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    FromOriginal,
    FromRendition { lack: Lack, smaller: bool },
    Unchanged,
    TooSmall,
    Gone,
}

/// Why a picture is not made of the upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lack {
    NotKept,
    Refused,
    Damaged,
}

type Told = (UserId, Result<Option<Outcome>, Error>);

/// A rendition that a picture is made of.
struct Source {
    file: Bytes,
    /// Largest size that may be made of it.
    size_px_max: u16,
    /// Whether a larger one is damaged.
    smaller: bool,
}

impl Admin {
    /// Makes all pictures anew that were made with other settings.
    ///
    /// # Errors
    ///
    /// [`migrate::Error::NotRerendered`] if some were not; each was told of.
    pub(in crate::service) async fn rerender(
        &self,
        how: Rerender,
        events: &Events,
    ) -> Result<(), Error> {
        let of = self.counted().await?.map(|counts| counts.pictures);
        let wanted = recipe(&self.config.picture);
        let at_once = self.decoding().await.map_err(Error::NoWorker)?.at_once;
        let mut sum = Rerendered::default();
        let (mut last, mut again) = (None, 0_u64);
        loop {
            let page = self.store.accounts(last.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            last = page.last().map(|listed| listed.user_id.clone());
            // Whatever has become of the account: only profile and picture are needed.
            let users = page.into_iter().map(|listed| listed.user_id);
            let mut outcomes = stream::iter(users)
                .map(|user| self.rerendered(user, wanted, how))
                .buffer_unordered(at_once);
            while let Some((user_id, outcome)) = outcomes.next().await {
                match outcome {
                    Ok(None) => {}
                    Ok(Some(outcome)) => sum.count(outcome),
                    // The disk, or what else is not this picture's: the others would fare no better.
                    Err(error) if ends_it(&error) => return Err(error),
                    Err(error) => {
                        sum.pictures = sum.pictures.saturating_add(1);
                        sum.failed = sum.failed.saturating_add(1);
                        let died = matches!(error, Error::DecoderDied { .. });
                        again = again.saturating_add(u64::from(died));
                        let reason = sentence(error);
                        events
                            .tell(Event::NotRerendered { user_id, reason })
                            .await?;
                    }
                }
                events.working("pictures", sum.pictures, of).await?;
            }
            if is_last {
                break;
            }
        }
        events.tell(Event::Rerendered(sum)).await?;
        match sum.failed {
            0 => Ok(()),
            failed => Err(migrate::Error::NotRerendered { failed, again }.into()),
        }
    }

    /// The user with what became of the picture. Boxed: a future that the compiler need not look into.
    fn rerendered(&self, user: UserId, wanted: u64, how: Rerender) -> BoxFuture<'_, Told> {
        Box::pin(async move {
            let outcome = self.rerender_one(&user, wanted, how).await;
            (user, outcome)
        })
    }

    /// Makes the picture of a user anew; none without a picture.
    async fn rerender_one(
        &self,
        user: &UserId,
        wanted: u64,
        how: Rerender,
    ) -> Result<Option<Outcome>, Error> {
        let shown = match self.store.profile(user).await {
            Ok(profile) => profile.picture,
            Err(storage::Error::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(shown) = shown else {
            return Ok(None);
        };
        match self.rerender_shown(user, &shown, wanted, how).await {
            Err(Error::Storage(storage::Error::NotFound(_))) => self.gone(user, &shown).await,
            outcome => outcome.map(Some),
        }
    }

    /// A picture that is not there any more: replaced or removed since the profile was read, or lost.
    async fn gone(&self, user: &UserId, shown: &Picture) -> Result<Option<Outcome>, Error> {
        let now = match self.store.profile(user).await {
            Ok(profile) => profile.picture,
            Err(storage::Error::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if now.is_some_and(|picture| picture.id == shown.id) {
            let (what, detail) = (What::Picture, format!("{} is missing", shown.id));
            return Err(storage::Error::Damaged { what, detail }.into());
        }
        Ok(Some(Outcome::Gone))
    }

    async fn rerender_shown(
        &self,
        user: &UserId,
        shown: &Picture,
        wanted: u64,
        how: Rerender,
    ) -> Result<Outcome, Error> {
        if self.store.recipe(shown.id).await? == Some(wanted) {
            return Ok(Outcome::Unchanged);
        }
        let (original, lack) = match self.store.original(shown.id).await {
            Err(error @ storage::Error::Damaged { .. }) => {
                let (picture, cause) = (shown.id, chain(&error));
                tracing::warn!(%picture, cause, "the upload that was kept is given up");
                (None, Lack::Damaged)
            }
            original => (original?, Lack::NotKept),
        };
        let lack = match &original {
            None => lack,
            Some(_) if how.dry_run => return Ok(Outcome::FromOriginal),
            Some(kept) => match self.rendered(&kept.bytes, kept.crop, None).await {
                Ok(rendered) => {
                    let picture = described(&rendered, shown.uploaded_at)?;
                    let made = (picture, rendered.renditions);
                    self.put_in_place(user, shown.id, made, original, wanted)
                        .await?;
                    return Ok(Outcome::FromOriginal);
                }
                Err(Error::Picture(cause)) => {
                    let (picture, cause) = (shown.id, chain(&cause));
                    tracing::info!(%picture, cause, "the upload that was kept is refused now");
                    Lack::Refused
                }
                Err(error) => return Err(error),
            },
        };
        let source = self.largest(shown).await?;
        let smaller = source.smaller;
        let outcome = Outcome::FromRendition { lack, smaller };
        if (self.config.picture.up_to(source.size_px_max).sizes_px).is_empty() {
            return Ok(Outcome::TooSmall);
        }
        if how.dry_run {
            return Ok(outcome);
        }
        let limit = Some(source.size_px_max);
        let rendered = self.rendered(&source.file, None, limit).await?;
        let mut picture = described(&rendered, shown.uploaded_at)?;
        picture.applied = applied(&shown.applied, &rendered);
        let made = (picture, rendered.renditions);
        self.put_in_place(user, shown.id, made, original, wanted)
            .await?;
        Ok(outcome)
    }

    /// Stores a picture instead of the one that it was made of.
    async fn put_in_place(
        &self,
        user: &UserId,
        before: PictureId,
        (picture, renditions): (Picture, Vec<Rendition>),
        original: Option<Original>,
        wanted: u64,
    ) -> Result<(), Error> {
        let making = Making {
            recipe: Some(wanted),
            original,
            instead_of: Some(before),
            changed_at: Some((self.clock)()),
            keyed: None,
        };
        (self.store)
            .store_picture(user, picture, renditions, making)
            .await?;
        Ok(())
    }

    /// The largest rendition that can be read.
    async fn largest(&self, shown: &Picture) -> Result<Source, storage::Error> {
        let mut sizes_px = shown.sizes_px.clone();
        sizes_px.sort_unstable_by(|one, next| next.cmp(one));
        let mut damage = None;
        for size_px in sizes_px {
            let file = match self.store.rendition(shown.id, size_px).await {
                Ok(found) => found.bytes,
                Err(error @ storage::Error::Damaged { .. }) => {
                    damage.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let told = (shown.width.min(size_px), shown.height.min(size_px));
            let (width, height) = plain_jpeg_dimensions(&file).unwrap_or(told);
            let size_px_max = match self.config.picture.fit {
                // The square that is cut out of it.
                Fit::Cover => width.min(height),
                Fit::Pad | Fit::Inside => width.max(height),
            };
            return Ok(Source {
                file,
                size_px_max,
                smaller: damage.is_some(),
            });
        }
        Err(damage.unwrap_or(storage::Error::NotFound(What::Picture)))
    }

    /// Renders a file; where the server's uploads have taken all places, after them.
    pub(in crate::service) async fn rendered(
        &self,
        file: &Bytes,
        crop: Option<Crop>,
        size_px_max: Option<u16>,
    ) -> Result<Rendered, Error> {
        let pool = &self.decoding().await.map_err(Error::NoWorker)?.pool;
        loop {
            let rendered = pool.render_up_to(file.clone(), crop, size_px_max).await;
            match rendered.map_err(|error| not_rendered(error, file)) {
                Err(Error::Busy { .. }) => sleep(PAUSE).await,
                other => return other,
            }
        }
    }
}

impl Rerendered {
    fn count(&mut self, outcome: Outcome) {
        self.pictures = self.pictures.saturating_add(1);
        let counter = match outcome {
            Outcome::FromOriginal => &mut self.from_original,
            Outcome::FromRendition { lack, smaller } => {
                let more = |sum: &mut u64, is: bool| *sum = sum.saturating_add(u64::from(is));
                more(&mut self.refused_originals, lack == Lack::Refused);
                more(&mut self.damaged_originals, lack == Lack::Damaged);
                more(&mut self.damaged_renditions, smaller);
                &mut self.from_rendition
            }
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::TooSmall => &mut self.too_small,
            Outcome::Gone => &mut self.gone,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Whether an error is not about the picture that it came up with.
fn ends_it(error: &Error) -> bool {
    !matches!(
        error,
        Error::Storage(storage::Error::Damaged { .. })
            | Error::Picture(_)
            | Error::DecoderDied { .. }
    )
}

/// What was done to the upload, all in all: what is made of a rendition has been through both.
fn applied(before: &[Applied], rendered: &Rendered) -> Vec<Applied> {
    let mut applied = [before, &rendered.applied].concat();
    applied.sort_unstable();
    applied.dedup();
    applied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_is_told_once_and_in_order() {
        let rendered = Rendered {
            format: crate::domain::picture::Format::Jpeg,
            decoder: crate::imaging::Decoder::Scaled,
            width: 64,
            height: 64,
            renditions: Vec::new(),
            thumbhash: Vec::new(),
            applied: vec![Applied::Cropped],
        };
        let before = [Applied::Rotated, Applied::Cropped, Applied::MetadataRemoved];

        assert_eq!(applied(&before, &rendered), before);
    }
}
