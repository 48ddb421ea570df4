//! `pockitd migrate …`: opens the store, moves data, says what became of it.

use std::fs;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use clap::ValueEnum;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::owner;
use crate::cli::print_line;
use crate::config::Config;
use crate::service;
use crate::service::migrate;
use crate::service::migrate::OnConflict;
use crate::storage::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Write all users and pictures as a neutral archive: a tar file of JSON lines and JPEG files
    #[command(
        after_help = "The archive has password hashes in it. pockitd-archive(5) describes it.\n\nExamples:\n  pockitd migrate export backup.tar\n  pockitd migrate export - | zstd > backup.tar.zst"
    )]
    Export {
        /// File to write, or - for standard output. A file of that name is replaced once the archive is whole
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Read such an archive: verify all of it, then add its users
    #[command(
        after_help = "Run again after an interruption, it goes on where it was.\n\nExamples:\n  pockitd migrate import backup.tar\n  zstdcat backup.tar.zst | pockitd migrate import - --on-conflict skip"
    )]
    Import {
        /// File to read, or - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What to do about a user who is in the store already, but not the same as in the archive
        #[arg(long, value_enum, default_value_t = Conflict::Fail)]
        on_conflict: Conflict,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// [`OnConflict`] as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Conflict {
    /// Import nothing at all
    Fail,
    /// Leave the user in the store as is
    Skip,
    /// Replace all of the user in the store
    Replace,
}

/// `pockitd migrate …`
pub(super) fn run(config: &Config, command: Migrate) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        owner::check(&config.storage.data_dir)?;
        let store = migrate::open(&config.storage).await?;
        let outcome = match command {
            Migrate::Export { file } => export(&store, &file).await,
            Migrate::Import {
                file,
                on_conflict,
                json,
            } => import(config, &store, &file, on_conflict, json).await,
        };
        let closed = store.close().await;
        outcome?;
        Ok(closed?)
    })
}

async fn export(store: &Arc<dyn Store>, file: &Path) -> Result<(), Failure> {
    let now = service::system_clock();
    let summary = if file == Path::new("-") {
        let (mut out, summary) = migrate::export(store, BufWriter::new(io::stdout()), now).await?;
        out.flush()?;
        summary
    } else {
        let partial = partial(file);
        let about = |error: io::Error| format!("cannot write {}: {error}", partial.display());
        let out = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&partial)
            .map_err(about)?;
        let written = migrate::export(store, BufWriter::new(out), now).await;
        let kept = written.map_err(Failure::from).and_then(|(out, summary)| {
            let out = out
                .into_inner()
                .map_err(|error| about(error.into_error()))?;
            out.sync_all()
                .and_then(|()| fs::rename(&partial, file))
                .and_then(|()| sync_parent(file))
                .map_err(about)?;
            Ok(summary)
        });
        if kept.is_err() {
            drop(fs::remove_file(&partial));
        }
        kept?
    };
    // Not on stdout, where the archive may be.
    writeln!(
        io::stderr(),
        "exported {} users and {} pictures ({} bytes)",
        summary.users,
        summary.pictures,
        summary.picture_bytes
    )?;
    Ok(())
}

async fn import(
    config: &Config,
    store: &Arc<dyn Store>,
    file: &Path,
    on_conflict: Conflict,
    as_json: bool,
) -> Result<(), Failure> {
    let file = if file == Path::new("-") {
        // It is read twice: to verify, then to write.
        let mut kept = migrate::unnamed_file(&config.storage)?;
        io::copy(&mut io::stdin().lock(), &mut kept)
            .map_err(|error| format!("cannot keep standard input: {error}"))?;
        kept
    } else {
        File::open(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?
    };
    let on_conflict = match on_conflict {
        Conflict::Fail => OnConflict::Fail,
        Conflict::Skip => OnConflict::Skip,
        Conflict::Replace => OnConflict::Replace,
    };
    let imported = migrate::import(store, &file, on_conflict, |account, reason| {
        drop(writeln!(
            io::stderr(),
            "skipped {}: {reason}",
            account.user_id
        ));
    });
    let imported = imported.await?;
    let line = if as_json {
        json!({
            "users": imported.archive.users,
            "pictures": imported.archive.pictures,
            "added": imported.added,
            "replaced": imported.replaced,
            "unchanged": imported.unchanged,
            "skipped": imported.skipped,
        })
        .to_string()
    } else {
        format!(
            "{} users in the archive: {} added, {} replaced, {} unchanged, {} skipped",
            imported.archive.users,
            imported.added,
            imported.replaced,
            imported.unchanged,
            imported.skipped
        )
    };
    Ok(print_line(&line)?)
}

/// Where an archive is written until it is whole.
fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn sync_parent(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| parent != &Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
