//! Packed fixtures: stores of earlier versions, and projects of other programs.

use std::path::Path;
use std::process::Command;

use super::fixtures::repository;

/// Unpacks `tests/fixtures/{name}.tar.gz` into a directory, which is made.
pub fn unpack(name: &str, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf")
        .arg(repository().join(format!("tests/fixtures/{name}.tar.gz")));
    assert!(tar.arg("-C").arg(into).status().unwrap().success());
}
