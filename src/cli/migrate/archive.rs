//! `pockitd migrate export` and `import`: the archive's file, which belongs to whoever runs the command.

use std::fs;
use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::Failure;
use crate::cli::errand::Errand;
use crate::cli::print_line;
use crate::cli::progress::Progress;
use crate::http::admin::client::Input;
use crate::service::admin::{Event, Task};
use crate::service::migrate::{Exported, Imported, OnConflict};

/// Where an archive goes.
enum Out {
    Stdout(BufWriter<Stdout>),
    File(Partial),
}

/// A file that has another name until it is whole, and goes away if it never is.
struct Partial {
    file: PathBuf,
    path: PathBuf,
    out: Option<BufWriter<File>>,
}

/// `pockitd migrate export FILE`
pub(super) fn export(errand: &Errand, file: &Path) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let mut out = None;
    let mut exported = None;
    let ran = errand.run(Task::Export, |event| {
        match event {
            Event::Data(chunk) => {
                // Opened when the first bytes come: a store that cannot be read leaves no file.
                if out.is_none() {
                    out = Some(Out::open(file)?);
                }
                if let Some(out) = &mut out {
                    out.write(&chunk.0)?;
                }
            }
            Event::Exported(sum) => exported = Some(sum),
            Event::Damaged { user_id, reason } => {
                progress.clear();
                writeln!(io::stderr(), "{user_id}: {reason}")?;
            }
            Event::Working { what, done, of } => progress.show(&what, done, of),
            _ => {}
        }
        Ok(())
    });
    progress.clear();
    let (Some(out), Some(exported)) = (out, exported) else {
        return ran.and(Err("the archive did not come to its end".into()));
    };
    // Whole, whatever was found to be damaged and stayed out.
    out.finish()?;
    let Exported {
        users,
        pictures,
        picture_bytes,
        originals,
        original_bytes,
    } = exported;
    let kept = match originals {
        0 => String::new(),
        _ => format!(", {originals} uploads that were kept ({original_bytes} bytes)"),
    };
    // Not on stdout, where the archive may be.
    writeln!(
        io::stderr(),
        "exported {users} users and {pictures} pictures ({picture_bytes} bytes){kept}"
    )?;
    ran
}

impl Out {
    fn open(file: &Path) -> Result<Self, Failure> {
        if file == Path::new("-") {
            return Ok(Self::Stdout(BufWriter::new(io::stdout())));
        }
        let mut name = file.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let out = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self::File(Partial {
            file: file.to_owned(),
            path,
            out: Some(BufWriter::new(out)),
        }))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout(out) => out.write_all(bytes)?,
            Self::File(partial) => {
                let out = partial.out.as_mut();
                let written = out.map_or(Ok(()), |out| out.write_all(bytes));
                written.map_err(|error| partial.about(&error))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut out) => Ok(out.flush()?),
            Self::File(partial) => partial.finish(),
        }
    }
}

impl Partial {
    fn about(&self, error: &io::Error) -> Failure {
        format!("cannot write {}: {error}", self.path.display()).into()
    }

    fn finish(mut self) -> Result<(), Failure> {
        let Some(out) = self.out.take() else {
            return Ok(());
        };
        let kept = out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|out| out.sync_all())
            .and_then(|()| fs::rename(&self.path, &self.file))
            .and_then(|()| sync_parent(&self.file));
        kept.map_err(|error| self.about(&error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Not there any more once it is whole.
        drop(fs::remove_file(&self.path));
    }
}

fn sync_parent(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| parent != &Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// `pockitd migrate import FILE`
pub(super) fn import(
    errand: &Errand,
    file: &Path,
    on_conflict: OnConflict,
    as_json: bool,
) -> Result<(), Failure> {
    let input = if file == Path::new("-") {
        Input::Stdin
    } else {
        let opened = File::open(file);
        Input::File(opened.map_err(|error| format!("cannot read {}: {error}", file.display()))?)
    };
    let mut progress = Progress::new();
    let ran = errand.run_with(Task::Import { on_conflict }, input, |event| {
        match event {
            Event::Skipped { user_id, reason } => {
                progress.clear();
                drop(writeln!(io::stderr(), "skipped {user_id}: {reason}"));
            }
            Event::Damaged { user_id, reason } => {
                progress.clear();
                drop(writeln!(io::stderr(), "not written {user_id}: {reason}"));
            }
            Event::NewPictureId {
                user_id,
                picture_id,
            } => {
                progress.clear();
                let reason = "another user has the one of the archive";
                drop(writeln!(
                    io::stderr(),
                    "{user_id}: the picture has the new id {picture_id}, as {reason}"
                ));
            }
            Event::Imported(sum) => {
                progress.clear();
                print_line(&imported(&sum, as_json))?;
            }
            Event::Working { what, done, of } => progress.show(&what, done, of),
            _ => {}
        }
        Ok(())
    });
    progress.clear();
    ran
}

fn imported(sum: &Imported, as_json: bool) -> String {
    if as_json {
        return json!(sum).to_string();
    }
    let damaged = match sum.damaged {
        0 => String::new(),
        damaged => format!(", {damaged} not written"),
    };
    let new_ids = match sum.new_picture_ids {
        0 => String::new(),
        new_ids => format!("; {new_ids} pictures have new ids"),
    };
    format!(
        "{} users in the archive: {} added, {} replaced, {} unchanged, {} skipped{damaged}{new_ids}",
        sum.users, sum.added, sum.replaced, sum.unchanged, sum.skipped
    )
}
