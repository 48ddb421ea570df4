//! `pockitd check …`: questions about this machine and what is stored on it, answered by trying.

mod health;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::audit;
use crate::cli::bench_upload::limits::positive_duration;
use crate::cli::errand::Errand;
use crate::cli::print_line;
use crate::config::Config;
use crate::workers::{Forbidden, Pool};

#[derive(Debug, Subcommand)]
pub(super) enum Check {
    /// Show what keeps decode workers in on this machine, and prove it: let workers try what they must not do
    #[command(
        after_help = "Exit code 1 if anything forbidden went through.\n\nExamples:\n  pockitd check sandbox\n  \
        pockitd check sandbox --json"
    )]
    Sandbox {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read everything that is stored and compare it with its checksums and with each other
    #[command(
        after_help = "Exit code 1 if anything is found. `pockitd gc-pictures --repair` puts right what can be.\n\n\
        Unreadable pages are places where the disk or somebody has changed the files of the database. The walk goes on \
        behind them, and they stay: to be rid of them, export all that can be read with pockitd migrate export, and import \
        that into a new data directory.\n\nExamples:\n  pockitd check store\n  pockitd check store --json"
    )]
    Store {
        /// Print one JSON object a line: what was found, then a summary
        #[arg(long)]
        json: bool,
    },
    /// Ask the running server whether it is alive and would take an upload
    #[command(
        after_help = "For health checks of containers and scripts. Asks /healthz and /readyz at http.listen, over TLS if \
        that is on; the certificate is not looked at. Exit code 1 if the server is not ready or does not answer.\n\n\
        Examples:\n  pockitd check health\n  pockitd check health --address 127.0.0.1:8080 --timeout 2s --json"
    )]
    Health {
        /// Where to ask; without it `http.listen`
        #[arg(long, value_name = "ADDRESS:PORT")]
        address: Option<SocketAddr>,
        /// Longest wait for each of the two answers
        #[arg(long, value_name = "TIME", value_parser = positive_duration, default_value = "5s")]
        timeout: Duration,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

/// What is tried, in words.
const ATTEMPTS: [(Forbidden, &str); 5] = [
    (Forbidden::OpenFile, "open a file"),
    (Forbidden::MakeSocket, "make a socket"),
    (Forbidden::Fork, "start a process"),
    (Forbidden::MapExecutable, "map executable memory"),
    (Forbidden::KillItself, "kill itself unseen"),
];

/// `pockitd check …`
pub(super) fn run(errand: Errand, check: &Check) -> Result<(), Failure> {
    let json = match check {
        Check::Store { json } => return audit::check_store(&errand, *json),
        Check::Health {
            address,
            timeout,
            json,
        } => {
            let asked = health::health(&errand.config, *address, *timeout, *json);
            return runtime()?.block_on(asked);
        }
        Check::Sandbox { json } => *json,
    };
    runtime()?.block_on(sandbox(errand.config, json))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

async fn sandbox(mut config: Config, json: bool) -> Result<(), Failure> {
    // Show what is there, also where it is not enough to serve.
    config.workers.require_sandbox = false;
    let (pool, in_force) = Pool::start(&config.workers, &config.picture).await?;
    let mut attempts = Vec::new();
    for (forbidden, words) in ATTEMPTS {
        attempts.push((words, pool.attempt(forbidden).await));
    }
    pool.close().await;
    let whole = in_force.seccomp.is_ok() && attempts.iter().all(|(_, outcome)| outcome.is_ok());
    let seccomp = in_force
        .seccomp
        .map_or_else(|reason| format!("no: {reason}"), |()| "in force".to_owned());
    let landlock = in_force
        .landlock
        .unwrap_or_else(|reason| format!("no: {reason}"));
    if json {
        let attempts = attempts.iter().map(|(words, outcome)| {
            let (Ok(told) | Err(told)) = outcome;
            json!({ "attempt": words, "refused": outcome.is_ok(), "outcome": told })
        });
        let attempts: Vec<_> = attempts.collect();
        let report = json!({ "locked_in": whole, "seccomp": seccomp, "landlock": landlock, "attempts": attempts });
        print_line(&report.to_string())?;
    } else {
        print_line(&format!("seccomp    {seccomp}"))?;
        print_line(&format!("Landlock   {landlock}"))?;
        for (words, outcome) in attempts {
            let line = match outcome {
                Ok(told) => format!("refused    {words}: {told}"),
                Err(told) => format!("NOT HELD   {words}: {told}"),
            };
            print_line(&line)?;
        }
    }
    if whole {
        Ok(())
    } else {
        Err("decode workers are not locked in on this machine".into())
    }
}
