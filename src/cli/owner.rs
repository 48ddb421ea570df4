//! Whose data directory it is. Root who opens the store of a service's user leaves files there that the service cannot
//! open again; so root asks as that user.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cli::Failure;

/// Refuses to open the data of another user as root. A directory that is not there yet belongs to whoever makes it.
pub(super) fn check(data_dir: &Path) -> Result<(), Failure> {
    let Ok(metadata) = data_dir.metadata() else {
        return Ok(());
    };
    let owner = metadata.uid();
    if !rustix::process::geteuid().is_root() || owner == 0 {
        return Ok(());
    }
    let directory = data_dir.display();
    Err(format!(
        "{directory} belongs to the user with id {owner}, and no server runs there: as root this would leave files that \
         the server cannot open. Start the server first, or run: setpriv --reuid {owner} --clear-groups pockitd …"
    )
    .into())
}
