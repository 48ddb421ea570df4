//! How the store is opened: the directory locked, the database opened and compared with what was acknowledged, the
//! writing thread started. After a failure the thread opens the database again, by way of the same steps.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::RwLock;
use tokio::sync::mpsc;

use crate::config;
use crate::storage::Error;
use crate::storage::Store;
use crate::storage::What;
use crate::storage::activity::Activity;
use crate::storage::data_dir;
use crate::storage::data_dir::DataDir;
use crate::storage::record::SequenceRecord;
use crate::storage::sled::SledStore;
use crate::storage::sled::cache::RenditionCache;
use crate::storage::sled::commit;
use crate::storage::sled::compact::Touched;
use crate::storage::sled::engine;
use crate::storage::sled::engine::Engine;
use crate::storage::sled::engine::Lookup as _;
use crate::storage::sled::engine::SEQUENCE_KEY;
use crate::storage::sled::engine::Table;
use crate::storage::sled::engine::io_failed;
use crate::storage::sled::exchange;
use crate::storage::sled::reserve::Reserve;
use crate::storage::sled::shared::Shared;
use crate::storage::sled::snapshot::Snapshots;
use crate::storage::sled::undo::Undo;
use crate::storage::sled::witness;
use crate::storage::sled::witness::Witness;

/// How often a slow opening is reported.
const OPENING_REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Opens the store in `config.data_dir`, makes it if there is none.
///
/// After a crash this replays the log, which takes about a second for each gigabyte written since the last opening,
/// and says so in the log while it lasts.
///
/// # Errors
///
/// [`Error::InUse`] if another process has the directory, [`Error::Unavailable`], [`Error::TooNew`],
/// [`Error::Damaged`], [`Error::Io`].
pub(in crate::storage) async fn open(config: &config::Storage) -> Result<Arc<dyn Store>, Error> {
    let config = config.clone();
    let directory = config.data_dir.join("db");
    let mut opening = tokio::task::spawn_blocking(move || open_blocking(&config));
    let begin = Instant::now();
    loop {
        match tokio::time::timeout(OPENING_REPORT_INTERVAL, &mut opening).await {
            Ok(Ok(opened)) => {
                let store: Arc<dyn Store> = Arc::new(opened?);
                return Ok(store);
            }
            Ok(Err(_)) => return Err(Error::Unavailable("opening was interrupted".to_owned())),
            Err(_) => tracing::info!(
                seconds = begin.elapsed().as_secs(),
                bytes = data_dir::size_bytes(&directory),
                "replaying the log of the store, which was not closed"
            ),
        }
    }
}

fn open_blocking(config: &config::Storage) -> Result<SledStore, Error> {
    let data_dir = Arc::new(DataDir::lock(&config.data_dir)?);
    let witness = Witness::open(data_dir.path())
        .map_err(|error| io_failed("open the note of the last commit", error))?;
    let mut reserve = Reserve::find(data_dir.path());
    exchange::settle(data_dir.path())
        .map_err(|error| io_failed("put the data directory in order", error))?;
    let database = data_dir.path().join("db");
    let undo = Arc::default();
    let engine = open_engine(&database, config.page_cache_bytes, &undo, &mut reserve)?;
    check_witness(&engine, &witness, data_dir.path())?;
    let shared = Arc::new(Shared {
        engine: RwLock::new(Some(engine)),
        cache: RenditionCache::new(config.rendition_cache_bytes),
        snapshots: Snapshots::default(),
        touched: Touched::default(),
        copying: Arc::default(),
        data_dir: config.data_dir.clone(),
        held: Arc::downgrade(&data_dir),
        free_bytes_min: config.free_bytes_min,
        lacking_bytes: AtomicU64::new(if reserve.is_held() {
            0
        } else {
            reserve.room_bytes()
        }),
        page_cache_bytes: config.page_cache_bytes,
        undo,
        is_failing: AtomicBool::new(false),
        is_refusing: AtomicBool::new(false),
        activity: Activity::default(),
    });
    let (requests, receiver) = mpsc::channel(commit::QUEUE_MAX);
    let thread = commit::start(Arc::clone(&shared), data_dir, (witness, reserve), receiver)
        .map_err(|error| io_failed("start the writing thread", error))?;
    Ok(SledStore::new(shared, requests, thread))
}

/// Refuses a database that has lost acknowledged commits.
pub(super) fn check_witness(
    engine: &Engine,
    witness: &Witness,
    data_dir: &Path,
) -> Result<(), Error> {
    let noted = witness
        .commits()
        .map_err(|error| io_failed("read the note of the last commit", error))?
        .unwrap_or(0);
    let found: Option<SequenceRecord> = engine.record(Table::Meta, What::Record, SEQUENCE_KEY)?;
    let found = found.unwrap_or_default().commits;
    if found >= noted {
        return Ok(());
    }
    let file = data_dir.join(witness::FILE_NAME);
    Err(Error::Damaged {
        what: What::Record,
        detail: format!(
            "the database ends at commit {found}, but {noted} were acknowledged. Restore a backup, \
             or remove {} to go on without them",
            file.display()
        ),
    })
}

/// Opens the database; on a full disk, with the space that was put by for that.
///
/// # Errors
///
/// Those of [`Engine::open`]; [`Error::Unavailable`] where the files are damaged, with what can be done.
pub(super) fn open_engine(
    path: &Path,
    page_cache_bytes: u64,
    undo: &Arc<Undo>,
    reserve: &mut Reserve,
) -> Result<Engine, Error> {
    match Engine::open(path, page_cache_bytes, undo) {
        Err(error) if is_full(&error) && reserve.give_up() => {
            tracing::warn!("the disk is full; the space put by is used to open the store");
            let opened = Engine::open(path, page_cache_bytes, undo);
            reserve.keep_rest();
            opened
        }
        other => other,
    }
    .map_err(|error| advised(error, path))
}

/// What an operator can do about a database that does not open.
fn advised(error: Error, database: &Path) -> Error {
    let Some(cause) = engine::damage(&error) else {
        return error;
    };
    let data_dir = database.parent().unwrap_or(database).display();
    Error::Unavailable(format!(
        "the files in {} are damaged: {cause}. Restore a backup of {data_dir}; or, to begin with the users of an archive, \
         move db and {} out of {data_dir}, which keeps the signing key, and run pockitd migrate import",
        database.display(),
        witness::FILE_NAME
    ))
}

/// Whether an error says that there is no more room on the disk.
pub(super) fn is_full(error: &Error) -> bool {
    let Error::Io { source, .. } = error else {
        return false;
    };
    let kind = source.downcast_ref::<io::Error>().map(io::Error::kind);
    kind.is_some_and(is_full_kind)
}

/// Whether an error of the system says so.
pub(super) const fn is_full_kind(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
