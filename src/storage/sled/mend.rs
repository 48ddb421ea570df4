//! Puts right what an audit has found, if it is still so.

use crate::domain::Timestamp;
use crate::storage::Error;
use crate::storage::What;
use crate::storage::audit::Problem;
use crate::storage::audit::Section;
use crate::storage::record::PictureRecord;
use crate::storage::sled::audit;
use crate::storage::sled::audit::Entry;
use crate::storage::sled::change::Done;
use crate::storage::sled::change::Writes;
use crate::storage::sled::counted;
use crate::storage::sled::counted::Correction;
use crate::storage::sled::engine::COUNTS_KEY;
use crate::storage::sled::engine::Lookup as _;
use crate::storage::sled::engine::Table;
use crate::storage::sled::lookup;

impl Writes<'_> {
    /// Mends an entry that had this problem; nothing is written if it has it no longer or cannot be mended.
    pub(super) fn mend(
        &mut self,
        entry: &Entry,
        problem: Problem,
        now: Timestamp,
    ) -> Result<Done, Error> {
        if problem == Problem::WrongCounts {
            return self.correct_counts(entry);
        }
        // Whatever its age: that was asked when it was found.
        let any_age = Timestamp::from_micros(i64::MAX);
        let found = audit::judge(self.view, entry, any_age)?;
        if found.map(|finding| finding.problem) != Some(problem) {
            return Ok(Done::default());
        }
        match problem {
            Problem::OrphanPicture => self.remove_orphan(entry),
            Problem::OrphanPart => {
                self.remove(Table::Chunks, &entry.key);
                Ok(Done::default())
            }
            Problem::OrphanKeys => {
                self.remove(Table::Keys, &entry.key);
                Ok(Done::default())
            }
            Problem::UnreadablePicture => {
                self.remove_picture(&lookup::user_of_key(&entry.key)?, now)
            }
            Problem::UnreadableOriginal => self.forget_original(entry),
            Problem::DamagedRecord if entry.section == Section::Pictures => {
                self.remove(Table::Pictures, &entry.key);
                Ok(Done::default())
            }
            Problem::DamagedRecord if entry.section == Section::Keys => {
                self.remove(Table::Keys, &entry.key);
                Ok(Done::default())
            }
            Problem::DamagedRecord
            | Problem::UnreadablePages
            | Problem::Inconsistent
            | Problem::WrongCounts => Ok(Done::default()),
        }
    }

    fn remove_orphan(&mut self, entry: &Entry) -> Result<Done, Error> {
        let picture = audit::id(&entry.key)?;
        let found: Option<PictureRecord> =
            self.view
                .record(Table::Pictures, What::Picture, &entry.key)?;
        let Some(manifest) = found else {
            return Ok(Done::default());
        };
        self.remove_chunks(&manifest.owner, picture, manifest.all_blobs())?;
        self.remove(Table::Pictures, &entry.key);
        let sizes_px = manifest.blobs.iter().map(|blob| blob.size_px).collect();
        Ok(Done {
            removed: Some((picture, sizes_px)),
            ..Done::default()
        })
    }

    fn forget_original(&mut self, entry: &Entry) -> Result<Done, Error> {
        let picture = audit::id(&entry.key)?;
        let mut manifest = lookup::manifest(self.view, picture)?;
        if let Some(original) = manifest.original.take() {
            manifest.crop = None;
            self.remove_chunks(&manifest.owner, picture, [original])?;
            self.write(Table::Pictures, &entry.key, &manifest)?;
        }
        Ok(Done::default())
    }

    fn correct_counts(&mut self, entry: &Entry) -> Result<Done, Error> {
        if let Some(correction) = Correction::decode(&entry.key) {
            let counts = correction.apply(counted::found(self.view)?);
            self.write(Table::Meta, COUNTS_KEY, &counts)?;
        }
        Ok(Done::default())
    }
}
