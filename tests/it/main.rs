//! Black-box tests: the real binary, a real socket, one file a noun. `tdd_green` is the specification's checklist.
//!
//! But for `store` (the contract of storage), `tidy` (the repository's own rules) and `man_pages`, nothing here calls the program's
//! own code: what a client cannot see is not tested here.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::too_many_lines,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "test code: a panic is the failure report, numbers are small, tables are long, nothing is exported"
)]

mod support;

mod accounts;
mod admin;
mod auth;
mod bench_upload;
mod bodies;
mod bombs;
mod cli;
mod clock;
mod concurrency;
mod conditional;
mod corpus;
mod cors;
mod download;
mod fields;
mod forms;
mod gc;
mod heads;
mod health;
mod hevc;
mod http2;
mod issuers;
mod jwks;
mod limits;
mod lines;
mod literals;
mod man_pages;
mod manager;
mod memory_store;
mod metrics;
mod migrate;
mod operator;
mod options;
mod parts;
mod photos;
mod profile;
mod rate_limit;
mod restart;
mod routes;
mod sandbox;
mod settings;
mod slow;
mod store;
mod tdd_green;
mod tidy;
mod tls;
mod tokens;
mod torture;
mod upload;
mod wire;
