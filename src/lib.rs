//! pockitd: the map.
pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod imaging;
pub mod service;
pub mod storage;
pub mod workers;
