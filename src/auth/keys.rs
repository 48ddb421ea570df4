//! The secret that signs tokens: from the configuration, from a file, or made at the first start.
//!
//! A key never appears in a message: errors name the file and what is wrong with it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::auth::NoRandomness;
use crate::auth::random;
use crate::config;
use crate::config::Secret;

/// Name of the key file in the data directory.
pub const FILE_NAME: &str = "signing.key";

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Error {
    #[error("cannot read the secret file {file}")]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the secret in {file} {weakness}")]
    Weak { file: PathBuf, weakness: String },
    #[error("cannot make the signing key {file}")]
    Make {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make a signing key")]
    Random(#[from] NoRandomness),
}

/// The key and, if it was made just now, where.
#[derive(Debug)]
pub struct Found {
    /// The HS256 secret.
    pub secret: Secret,
    /// The file that this call made, to be told to the operator once.
    pub made: Option<PathBuf>,
}

/// The secret of `auth.secret`, of `auth.secret_file`, or of the key file in `data_dir`, which is made if missing.
///
/// # Errors
///
/// A file that cannot be read or made, or holds a secret with a [`Secret::weakness`].
pub fn find(config: &config::Auth, data_dir: &Path) -> Result<Found, Error> {
    if let Some(secret) = &config.secret {
        return Ok(Found {
            secret: secret.clone(),
            made: None,
        });
    }
    if let Some(file) = &config.secret_file {
        return Ok(Found {
            secret: read(file)?,
            made: None,
        });
    }
    let file = data_dir.join(FILE_NAME);
    let made = make(&file)?;
    Ok(Found {
        secret: read(&file)?,
        made: made.then_some(file),
    })
}

/// Whether the secret file that is configured, if any, can be used.
///
/// # Errors
///
/// As [`find`].
pub fn check(config: &config::Auth) -> Result<(), Error> {
    let read = config.secret_file.as_deref().map(read);
    read.transpose().map(drop)
}

fn read(file: &Path) -> Result<Secret, Error> {
    let text = fs::read_to_string(file).map_err(|source| Error::Read {
        file: file.to_owned(),
        source,
    })?;
    let secret = Secret::from(text.trim_end_matches(['\r', '\n']).to_owned());
    if let Some(weakness) = secret.weakness() {
        let file = file.to_owned();
        return Err(Error::Weak { file, weakness });
    }
    Ok(secret)
}

/// Makes the file with 256 random bits in hexadecimal unless it is there; true if it was made.
///
/// Written under another name first and then linked to its own: two processes that start at once agree on one key,
/// and a half-written key is never read.
fn make(file: &Path) -> Result<bool, Error> {
    if file.exists() {
        return Ok(false);
    }
    let text = format!(
        "{:032x}{:032x}",
        u128::from_be_bytes(random()?),
        u128::from_be_bytes(random()?)
    );
    let failed = |source| Error::Make {
        file: file.to_owned(),
        source,
    };
    let directory = file.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed)?;
    let draft = file.with_extension(format!("{}.draft", std::process::id()));
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    writeln!(out, "{text}")
        .and_then(|()| out.sync_all())
        .map_err(failed)?;
    let linked = fs::hard_link(&draft, file);
    fs::remove_file(&draft).map_err(failed)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(failed(error)),
    }
    fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn key_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");

        let first = find(&config::Auth::default(), &data).unwrap();
        let second = find(&config::Auth::default(), &data).unwrap();

        assert_eq!(first.made, Some(data.join(FILE_NAME)));
        assert_eq!(second.made, None);
        assert_eq!(first.secret, second.secret);
        assert_eq!(first.secret.expose().len(), 64);
        let mode = fs::metadata(data.join(FILE_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn secret_file_that_is_short_or_missing_is_refused_without_telling_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "too-short\n").unwrap();
        let config = |file: &Path| config::Auth {
            secret_file: Some(file.to_owned()),
            ..config::Auth::default()
        };

        let short = find(&config(&file), folder.path()).unwrap_err();
        let missing = find(&config(&folder.path().join("none")), folder.path()).unwrap_err();

        assert!(matches!(short, Error::Weak { .. }));
        assert!(short.to_string().contains("has 9 bytes"));
        assert!(!short.to_string().contains("too-short"));
        assert!(matches!(missing, Error::Read { .. }));
    }
}
