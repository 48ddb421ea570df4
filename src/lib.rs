//! pockitd, the self-hosted profile-picture server: the map.
//!
//! # Layers
//!
//! Imports point down, never sideways; `tests/it/tidy.rs` enforces it.
//!
//! ```text
//!             cli            arguments → Config → one call → exit code
//!              │
//!             http           bytes ↔ use cases; the only place that knows status codes
//!              │
//!           service          use cases shared by http and cli; orders the side effects
//!    ┌─────────┼──────────┬────────┐
//!  storage   workers     auth      │     durable state │ bounded decoding │ passwords, tokens
//!    │         │          │        │
//!    │      imaging       │        │     pure: bytes in, pictures out
//!    └─────────┴──────────┴────────┘
//!           config           every limit and default, as plain data
//!              │
//!           domain           types that cannot be invalid
//! ```
//!
//! # Life of an upload
//!
//! [`http::server`] accepts (connection permit, head timeout) → route → token → rate limit → Content-Length → room
//! among the bodies in flight → the form, streamed, counted, bounded in bytes and time → [`workers`]: a slot → [`imaging`]:
//! probe (magic bytes, dimensions, limits: refuse before allocating) → decode only what is needed → upright → crop →
//! resize → sRGB → encode → [`service`] → one commit of [`storage`]: new blobs, profile, old blobs removed → durable
//! on disk → 200.
//!
//! A stop at any point leaves the old picture in place, whole. A client that hangs up cancels nothing half-way. No byte
//! of an upload is ever served: only what was encoded here.
//!
//! # Threat model
//!
//! Everything on the socket is a stranger's: requests, tokens, files. Each costs its sender one clear refusal; bounds
//! on size, time, pixels, memory and queues are keys of the configuration. Whoever can read the data directory can read
//! the signing key and every picture: keep it from other users (it is made with mode 0700).

pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod imaging;
pub mod service;
pub mod storage;
pub mod workers;
