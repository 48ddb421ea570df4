//! Bytes on a socket to use cases and back: HTTP/1.1 on raw hyper. The only place that knows status codes.
//!
//! An answer is always one of ours: a refusal is a value (`error::ApiError`), never a dropped connection, as long as
//! the client reads. Every read has a limit and a deadline; both come from `[http]` of the configuration.

mod body;
mod conditional;
mod cors;
mod error;
mod form;
mod framing;
mod handlers;
pub mod metrics;
mod rate_limit;
mod request;
mod respond;
mod route;
pub mod server;
mod wire;
