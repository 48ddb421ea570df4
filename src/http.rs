//! Bytes on a socket to use cases and back: HTTP/1.1 on raw hyper, and HTTP/2 where TLS is on. The only place that knows status codes.
//!
//! A refusal is a value (`error::ApiError`), never a dropped connection, as long as the client reads. That holds of heads
//! that hyper cannot parse, too: `gate` keeps them from it. Every read has a limit and a deadline; both come from `[http]`
//! of the configuration.

mod address;
pub mod admin;
mod body;
mod conditional;
mod connection;
mod cors;
mod crowd;
mod disposition;
mod error;
mod fields;
mod form;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gate;
mod handlers;
mod head;
mod line;
pub mod metrics;
pub mod opening;
pub mod probe;
mod rate_limit;
mod request;
mod respond;
mod room;
mod route;
mod schema;
pub mod server;
pub mod tls;
mod wire;
