//! sled as it is shipped, under the workload of the power cuts: the control that shows that they bite.
//!
//! A program of its own, because it must not have the symbol that makes sled's syncs real. Values are whole files,
//! settings are sled's defaults, and an upload is acknowledged after `flush`, as sled's documentation has it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    missing_docs,
    unreachable_pub,
    reason = "test code: a panic is the failure report"
)]

#[path = "workload.rs"]
mod workload;

use workload::{FILES, Uploads};

struct Shipped {
    database: sled::Db,
    profiles: sled::Tree,
    files: sled::Tree,
}

impl Shipped {
    fn open(directory: &str) -> Self {
        let database = sled::open(directory).unwrap();
        Self {
            profiles: database.open_tree("profiles").unwrap(),
            files: database.open_tree("files").unwrap(),
            database,
        }
    }

    fn replace(&self, user: u64, seed: u64) -> sled::Result<()> {
        for length in FILES {
            let bytes = workload::bytes(user, seed, length);
            self.files.insert(key(user, seed, length), bytes)?;
        }
        let profile = seed.to_be_bytes().to_vec();
        let before = self.profiles.insert(user.to_be_bytes(), profile)?;
        let before = before.map(|before| u64::from_be_bytes(before.as_ref().try_into().unwrap()));
        for length in FILES {
            if let Some(before) = before {
                self.files.remove(key(user, before, length))?;
            }
        }
        self.database.flush().map(drop)
    }
}

fn key(user: u64, seed: u64, length: usize) -> Vec<u8> {
    let parts = [user, seed, u64::try_from(length).unwrap()];
    parts.map(u64::to_be_bytes).concat()
}

impl Uploads for Shipped {
    fn upload(&self, user: u64, seed: u64) -> bool {
        self.replace(user, seed).is_ok()
    }

    fn shown(&self, user: u64) -> Result<u64, String> {
        let profile = self.profiles.get(user.to_be_bytes());
        let profile = profile.map_err(|error| error.to_string())?;
        let Some(profile) = profile else {
            return Ok(0);
        };
        let seed = u64::from_be_bytes(profile.as_ref().try_into().unwrap());
        for length in FILES {
            let file = self.files.get(key(user, seed, length));
            let file = file.map_err(|error| error.to_string())?;
            if file.is_none_or(|file| *file != workload::bytes(user, seed, length)) {
                return Err(format!("{length} bytes of {seed}"));
            }
        }
        Ok(seed)
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (verb, directory) = (arguments.next().unwrap(), arguments.next().unwrap());
    let store = Shipped::open(&directory);
    match verb.as_str() {
        "write" => workload::write(&store),
        "read" => workload::read(&store),
        _ => panic!("{verb}: neither write nor read"),
    }
}
