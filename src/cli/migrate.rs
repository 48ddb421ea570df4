//! `pockitd migrate …`: one task each, by the server that has the store or by the command itself.
//!
//! Files that are named on the command line belong to the command: it reads and writes them, whoever has the store. Only
//! a Django project is read by whoever has the store.

mod archive;
mod django;
mod report;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::Failure;
use crate::cli::errand::Errand;
use crate::service::admin::Task;
use crate::service::migrate::OnConflict;
use crate::service::migrate::Rerender;

#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Say which versions the store and its records have
    #[command(
        after_help = "Records of old versions are read as they are; migrate up writes them anew.\n\nExamples:\n  pockitd migrate status --json"
    )]
    Status {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write records of old versions anew, in the version of this program
    #[command(
        after_help = "A store that was moved up is refused by older programs; so is any store that this one has written \
        to. Interrupted, it goes on when it is run again.\n\nExamples:\n  pockitd migrate up --dry-run\n  pockitd migrate up"
    )]
    Up {
        /// Write nothing, only say what would be written
        #[arg(long)]
        dry_run: bool,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write all users and pictures as a neutral archive: a tar file of JSON lines and JPEG files
    #[command(
        after_help = "The archive has password hashes in it. pockitd-archive(5) describes it.\n\nBeside a running server it \
        is of one moment: whoever is changed before their turn is kept as they were, on the server's disk. With less than twice \
        storage.free_bytes_min left for that it ends, so that uploads go on; run it again at a quieter time.\n\nExamples:\n  \
        pockitd migrate export backup.tar\n  pockitd migrate export - | zstd > backup.tar.zst"
    )]
    Export {
        /// File to write, or - for standard output. A file of that name is replaced once the archive is whole
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Read such an archive: verify all of it, then add its users
    #[command(
        after_help = "Run again after an interruption, it goes on where it was.\n\nAn e-mail address or a picture is never \
        taken from another user: with fail nothing is imported then, with skip the user of the archive is passed over, with \
        replace the picture gets a new id, and for an address nothing is imported.\n\nExamples:\n  pockitd migrate import backup.tar\n  zstdcat backup.tar.zst | pockitd migrate import - --on-conflict skip"
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
    /// Take over the users of a Django project: accounts, password hashes, names and pictures
    #[command(after_help = django::EXAMPLES)]
    ImportDjango(Box<django::ImportDjango>),
    /// Write the store anew without the space that it does not use
    #[command(
        after_help = "The database never gives space back by itself. This copies what is in it to a new one beside it, \
        compares the two, exchanges them in one step and removes the old one. If the new one would not be smaller, the old \
        one stays.\n\nSafe beside a running server: reads and \
        writes go on, but for the moment of the exchange, and killed at any moment it leaves the one database or the \
        other, whole. It reads all that is stored twice and writes it once, and until the old database is gone it needs \
        as much free space as that takes, beside half of storage.free_bytes_min. With too little room it ends, and all is as \
        before.\n\nExamples:\n  pockitd migrate compact"
    )]
    Compact {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make all pictures anew with the sizes, fit, background and quality that are configured now
    #[command(
        after_help = "Of the upload where picture.keep_original kept it, else of the largest rendition, which loses a \
        little, and sizes above it are left out; the same where the upload is damaged, or refused by the limits of now, such \
        as picture.pixels_max. Where the largest rendition is damaged, the next smaller one serves. The summary says how \
        many. A picture that was made with these settings is left alone, so that an interrupted run goes on \
        when it is run again. Each new picture has new URLs, and takes the place of the old one in one step.\n\nSafe beside \
        a running server: half of its workers do it at most, so that uploads go on, and its configuration counts. Each \
        picture takes as long as an upload of it. The database uses the space of the old pictures again, but may grow \
        meanwhile and never shrinks by itself: pockitd migrate compact makes it small again. storage.free_bytes_min \
        stays free; a full disk ends the run, and what was made stays.\n\nExamples:\n  pockitd migrate rerender --dry-run\n  pockitd migrate rerender"
    )]
    Rerender(RerenderArguments),
}

#[derive(Args, Debug)]
pub(super) struct RerenderArguments {
    /// Write nothing, only count what would be made anew
    #[arg(long)]
    dry_run: bool,
    /// Print JSON objects, one a line: pictures that were not made, then a summary
    #[arg(long)]
    json: bool,
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

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Fail => Self::Fail,
            Conflict::Skip => Self::Skip,
            Conflict::Replace => Self::Replace,
        }
    }
}

/// `pockitd migrate …`
pub(super) fn run(errand: &Errand, command: Migrate) -> Result<(), Failure> {
    match command {
        Migrate::Status { json } => report::versions(errand, false, false, json),
        Migrate::Up { dry_run, json } => report::versions(errand, true, dry_run, json),
        Migrate::Export { file } => archive::export(errand, &file),
        Migrate::Import {
            file,
            on_conflict,
            json,
        } => archive::import(errand, &file, on_conflict.into(), json),
        Migrate::ImportDjango(arguments) => django::import(errand, *arguments),
        Migrate::Compact { json } => report::show(errand, Task::Compact, json),
        Migrate::Rerender(RerenderArguments { dry_run, json }) => {
            report::show(errand, Task::Rerender(Rerender { dry_run }), json)
        }
    }
}
