//! Reaches into a closed store as a failing disk or an old mistake would: entries of the database, below the program.

use std::path::Path;

/// The database of a data directory that no process has.
#[derive(Debug)]
pub struct Raw(sled::Db);

/// Everything that a store keeps of one user's picture: tables, keys and values.
#[derive(Clone, Debug)]
pub struct Entries(Vec<(&'static str, sled::IVec, sled::IVec)>);

/// Gives the database of a data directory that no process has so much space that it pays to write it anew.
pub fn lengthen(data_dir: &Path) {
    let log = std::fs::OpenOptions::new()
        .write(true)
        .open(data_dir.join("db/db"))
        .unwrap();
    let length = log.metadata().unwrap().len();
    log.set_len(length + 64 * 1_024 * 1_024).unwrap();
}

impl Raw {
    pub fn open(data_dir: &Path) -> Self {
        let config = sled::Config::new()
            .path(data_dir.join("db"))
            .segment_size(1_024 * 1_024);
        Self(config.open().unwrap())
    }

    fn table(&self, name: &str) -> sled::Tree {
        self.0.open_tree(name).unwrap()
    }

    /// The picture of a user: its description and its parts.
    pub fn picture_of(&self, user: &str) -> Entries {
        let prefix = [user.as_bytes(), &[0]].concat();
        let mut entries = Vec::new();
        for entry in self.table("chunks").scan_prefix(&prefix) {
            let (key, value) = entry.unwrap();
            let picture = &key[prefix.len()..prefix.len() + 16];
            if entries.is_empty() {
                let description = self.table("pictures").get(picture).unwrap();
                entries.push(("pictures", picture.into(), description.unwrap()));
            }
            entries.push(("chunks", key, value));
        }
        assert!(entries.len() > 2, "{user} has a picture");
        Entries(entries)
    }

    /// What is remembered of a user's idempotency keys.
    pub fn keys_of(&self, user: &str) -> Entries {
        let value = self.table("keys").get(user).unwrap().unwrap();
        Entries(vec![("keys", user.into(), value)])
    }

    pub fn put(&self, entries: &Entries) {
        for (table, key, value) in &entries.0 {
            self.table(table).insert(key, value).unwrap();
        }
    }

    pub fn remove(&self, entries: &Entries) {
        for (table, key, _) in &entries.0 {
            self.table(table).remove(key).unwrap();
        }
    }

    /// Makes the store one of a program with that layout.
    pub fn set_schema(&self, version: u32) {
        let record = pockitd::storage::record::SchemaRecord { version };
        let bytes = pockitd::storage::record::encode(b"schema", &record).unwrap();
        self.table("meta").insert("schema", bytes).unwrap();
    }

    /// The first byte of each record of a table: its version.
    pub fn versions(&self, table: &str) -> Vec<u8> {
        let values = self.table(table).iter().values();
        values.map(|value| value.unwrap()[0]).collect()
    }

    pub fn remove_record(&self, table: &str, key: &str) {
        assert!(self.table(table).remove(key).unwrap().is_some());
    }

    pub fn copy_record(&self, table: &str, from: &str, to: &str) {
        let value = self.table(table).get(from).unwrap().unwrap();
        self.table(table).insert(to, value).unwrap();
    }

    /// Turns one bit of a record's last byte.
    pub fn damage_record(&self, table: &str, key: &str) {
        self.damage(table, key.as_bytes());
    }

    fn damage(&self, table: &str, key: &[u8]) {
        let mut value = self.table(table).get(key).unwrap().unwrap().to_vec();
        *value.last_mut().unwrap() ^= 4;
        self.table(table).insert(key, value).unwrap();
    }

    /// Turns one bit of the upload that is kept of a user's picture.
    pub fn damage_original(&self, user: &str) {
        // Before those of the renditions: its size is 0.
        let entries = self.picture_of(user).0;
        let (table, key, _) = &entries[1];
        self.damage(table, key);
    }

    /// Turns one bit of the last of these.
    pub fn damage_last(&self, entries: &Entries) {
        let (table, key, _) = entries.0.last().unwrap();
        self.damage(table, key);
    }
}

impl Entries {
    /// The parts without the description.
    pub fn parts(&self) -> Self {
        Self(self.0[1..].to_vec())
    }

    /// The description without the parts.
    pub fn description(&self) -> Self {
        Self(self.0[..1].to_vec())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}
