//! pockitd: the map.
pub mod config;
pub mod domain;
pub mod imaging;
pub mod storage;
