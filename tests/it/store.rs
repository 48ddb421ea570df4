//! The contract of [`Store`], as tests that every implementation passes; and what sled's implementation adds.

mod compacted;
mod sled;
mod suite;

use std::sync::Arc;

use bytes::Bytes;
use pockitd::domain::Timestamp;
use pockitd::domain::picture::Applied;
use pockitd::domain::picture::Picture;
use pockitd::domain::picture::PictureId;
use pockitd::domain::picture::Rendition;
use pockitd::domain::user::Account;
use pockitd::domain::user::Profile;
use pockitd::domain::user::UserId;
use pockitd::storage::Counts;
use pockitd::storage::Error;
use pockitd::storage::Store;
use pockitd::storage::WholeUser;
use pockitd::storage::upkeep::Making;

use crate::memory_store::MemoryStore;

/// Somewhere that a store can be opened at, again and again; one at a time.
pub(crate) trait Place {
    /// Opens the store with what the one before it has left.
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send;

    /// Does harm to a closed store that its own methods never do.
    fn harm(&self, harm: Harm<'_>) -> impl Future<Output = ()> + Send;
}

/// What can happen to a store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm<'h> {
    /// There is the usual picture of this seed, and nobody points at it.
    Orphan(u64),
    /// The picture of this user is gone, but the profile points at it.
    Gone(&'h str),
    /// One bit of this user's picture has turned.
    Flipped(&'h str),
}

impl Place for MemoryStore {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    async fn harm(&self, harm: Harm<'_>) {
        self.suffer(harm);
    }
}

/// One test for each behaviour of the suite.
macro_rules! conforms {
    ($name:ident, $place:expr, [$($behaviour:ident),* $(,)?]) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    super::suite::$behaviour(&$place).await;
                }
            )*
        }
    };
}

macro_rules! conformance {
    ($name:ident, $place:expr) => {
        conforms!(
            $name,
            $place,
            [
                created_user_is_found_by_id_and_by_email_without_case,
                taken_id_or_email_is_refused_and_changes_nothing,
                unknown_user_email_or_picture_is_not_found,
                password_hash_and_name_are_changed,
                accounts_come_in_order_and_in_pages,
                picture_is_read_back_byte_for_byte_in_every_size,
                replaced_picture_is_gone_at_once,
                removed_picture_is_gone_and_removing_none_changes_nothing,
                picture_for_an_unknown_user_is_not_stored,
                picture_id_in_use_is_refused,
                put_user_is_read_back_with_times_and_picture,
                put_user_that_is_taken_is_refused_and_changes_nothing,
                put_user_replaces_all_of_the_user_before,
                kept_upload_goes_where_its_picture_goes,
                key_of_an_upload_is_remembered_with_its_picture_or_not_at_all,
                newest_keys_of_each_user_are_remembered_until_they_may_be_forgotten,
                keys_go_with_their_user,
                deleted_user_leaves_nothing_and_frees_the_email,
                acknowledged_writes_are_there_after_reopening,
                dropped_future_leaves_all_or_nothing,
                of_changes_that_expect_the_same_one_happens,
                uploads_of_one_user_at_once_leave_one_picture,
                reader_of_a_replaced_picture_sees_all_of_it_or_nothing,
                audit_of_a_sound_store_sees_everything_and_finds_nothing,
                orphan_picture_is_found_if_it_is_old_enough_and_removed,
                snapshot_beside_writes_is_of_one_moment,
                snapshot_shows_everybody_as_they_were,
                unreadable_picture_is_found_and_taken_away,
                finding_that_is_so_no_longer_is_not_mended,
                audit_beside_uploads_finds_nothing,
                users_without_an_email_are_many_and_in_nobodys_way,
            ]
        );
    };
}

conformance!(memory, crate::memory_store::MemoryStore::default());
conformance!(on_sled, crate::store::sled::Directory::new());

/// Writes of every kind, one after the other. Each that fails must have changed nothing, each that succeeds all.
pub(crate) async fn life_of_a_user(store: &dyn Store) -> Vec<Result<(), Error>> {
    let ada = user("ada");
    let mut outcomes = Vec::new();
    let mut seen = Seen::of(store).await;
    for step in 0..8 {
        let outcome = match step {
            0 => store
                .create_user(account("ada"), "Ada".parse().unwrap())
                .await
                .map(drop),
            1 => store.set_password_hash(&ada, "new".to_owned()).await,
            2 => store
                .rename(&ada, "Countess".parse().unwrap(), at(2))
                .await
                .map(drop),
            3 | 4 => {
                let (shown, renditions) = usual_picture(step);
                store
                    .replace_picture(&ada, shown, renditions)
                    .await
                    .map(drop)
            }
            5 => store.remove_picture(&ada, at(3)).await.map(drop),
            6 => store.put_user(whole_ada(), true).await,
            _ => store.delete_user(&ada).await,
        };
        let now = Seen::of(store).await;
        // Steps that need a user are refused if the first one failed. Taking no picture away is no change.
        let changes = outcome.is_ok() && (step != 5 || seen.has_picture());
        assert_eq!(changes, now != seen, "step {step}: {outcome:?}, {now:?}");
        seen = now;
        outcomes.push(outcome);
    }
    outcomes
}

/// The user `ada` as another store had her.
fn whole_ada() -> WholeUser {
    let (shown, renditions) = usual_picture(5);
    WholeUser {
        account: account("ada"),
        profile: Profile {
            user_id: user("ada"),
            name: "Lady".parse().unwrap(),
            picture: Some(shown),
            created_at: at(1),
            updated_at: at(4),
        },
        renditions,
        making: Making::default(),
    }
}

/// All that can be seen of the user `ada`.
#[derive(Debug, PartialEq)]
struct Seen {
    account: Option<Account>,
    profile: Option<Profile>,
    pictures: Vec<Option<Bytes>>,
    counts: Counts,
}

impl Seen {
    fn has_picture(&self) -> bool {
        let profile = self.profile.as_ref();
        profile.is_some_and(|profile| profile.picture.is_some())
    }

    async fn of(store: &dyn Store) -> Self {
        let mut pictures = Vec::new();
        for seed in [3, 4, 5] {
            let (shown, _) = usual_picture(seed);
            let found = store.rendition(shown.id, 512).await;
            pictures.push(found.ok().map(|found| found.bytes));
        }
        let profile = store.profile(&user("ada")).await.ok();
        let live = profile
            .as_ref()
            .is_some_and(|profile| profile.picture.is_some());
        assert_eq!(pictures.iter().flatten().count(), usize::from(live));
        Self {
            account: store.account(&user("ada")).await.ok(),
            profile,
            pictures,
            counts: store.counts().await.unwrap(),
        }
    }
}

/// A moment that tests can tell from others.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

/// A user id.
pub(crate) fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

/// An account made in second 1, with `id@example.org` as e-mail address.
pub(crate) fn account(id: &str) -> Account {
    Account {
        user_id: user(id),
        email: format!("{id}@Example.org").parse().ok(),
        password_hash: Some(format!("hash of {id}")),
        created_at: at(1),
    }
}

/// A picture with renditions of such sizes and lengths. Seed and size determine every byte.
pub(crate) fn picture(seed: u64, sizes: &[(u16, usize)]) -> (Picture, Vec<Rendition>) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    id[8..].copy_from_slice(&seed.to_be_bytes());
    let picture = Picture {
        id: PictureId::from_random(id),
        width: 512,
        height: 512,
        sizes_px: sizes.iter().map(|(size_px, _)| *size_px).collect(),
        thumbhash: seed.to_be_bytes().to_vec(),
        applied: vec![Applied::Cropped],
        uploaded_at: at(i64::try_from(seed).unwrap() + 100),
    };
    let renditions = sizes.iter().map(|(size_px, length)| Rendition {
        size_px: *size_px,
        bytes: noise(seed ^ u64::from(*size_px) << 32, *length),
    });
    (picture, renditions.collect())
}

/// A picture as uploads make it: 50 KB and a thumbnail of 6 KB.
pub(crate) fn usual_picture(seed: u64) -> (Picture, Vec<Rendition>) {
    picture(seed, &[(512, 50_000), (128, 6_000)])
}

/// Bytes that do not compress and that depend on the seed (xorshift64*).
pub(crate) fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes()
    });
    words
        .take(length.div_ceil(8))
        .flatten()
        .take(length)
        .collect()
}

/// `SQLite`'s loop: the first write fails, then the second, and so on until none does.
#[tokio::test]
async fn every_write_failing_in_turn_leaves_the_state_before_it() {
    for number in 1.. {
        let store = MemoryStore::default();
        store.fail_write(number);

        let steps = life_of_a_user(&store).await;

        let failed = steps.iter().filter(|step| step.is_err()).count();
        if !store.has_failed() {
            assert_eq!((failed, number), (0, 9));
            return;
        }
        assert!(failed > 0);
    }
}
