//! The server under load and its users: a private one on a temporary store, or one that runs already.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::cli::Failure;
use crate::cli::bench_upload::client::{Client, Endpoint, Failure as NoAnswer, Outgoing};
use crate::cli::bench_upload::usage::Usage;
use crate::config::Config;
use crate::domain::user::Email;
use crate::service;
use crate::service::admin::Admin;

/// Life of tokens that are made here, in seconds: longer than any run.
const TOKEN_TTL_S: u64 = 7 * 86_400;
/// Longest time from start to the line that says where the server listens.
const START_WITHIN: Duration = Duration::from_mins(1);
/// Longest time for it to end when asked to.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Rate limits that are lifted for a server of one's own.
const UNLIMITED: [&str; 4] = [
    "uploads_per_hour",
    "uploads_per_hour_per_address",
    "requests_per_minute_per_user",
    "requests_per_minute_per_address",
];
/// How much of a failed server's log is shown, in lines.
const LOG_LINES_MAX: usize = 5;

/// A server and the tokens of its users.
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) tokens: Vec<String>,
    /// What it is, for the report.
    pub(super) name: String,
    private: Option<Private>,
}

/// A server of one's own. Killed and removed with everything it stored when it is dropped.
struct Private {
    process: Child,
    process_id: u32,
    directory: TempDir,
}

impl Target {
    /// Starts this binary with `config` on an empty store beside the configured one, hence on the same disk.
    pub(super) async fn private(
        mut config: Config,
        arguments: &[OsString],
        users: usize,
    ) -> Result<Self, Failure> {
        let directory = beside(&config.storage.data_dir)?;
        config.storage.data_dir = directory.path().join("data");
        let data_dir = config.storage.data_dir.clone();
        // Its log is about a server that is not under load yet.
        let tokens = made_tokens(config, users)
            .with_subscriber(NoSubscriber::new())
            .await?;
        let log = fs::File::create(directory.path().join("server.log"))?;
        // Rate limits are about users and addresses, not about what the server can do.
        let unlimited = UNLIMITED.map(|key| format!("rate_limit.{key}=0"));
        let mut process = Command::new("/proc/self/exe")
            .args(arguments)
            .args(unlimited.iter().flat_map(|limit| ["--set", limit.as_str()]))
            .arg("--data-dir")
            .arg(&data_dir)
            .args(["serve", "--private", "--listen", "127.0.0.1:0"])
            .args(["--public-url", ""])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C ends the run, which ends the server in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start a server: {error}"))?;
        let process_id = process.id().unwrap_or_default();
        let url = listening(&mut process).await.ok_or_else(|| {
            let said = last_lines(&directory.path().join("server.log"));
            format!("the private server does not start: {said}")
        })?;
        Ok(Self {
            endpoint: Endpoint::parse(&url, None)?,
            tokens,
            name: format!(
                "private, this binary with the same configuration and no rate limit; store on the disk of {}",
                directory
                    .path()
                    .parent()
                    .unwrap_or(Path::new("."))
                    .display()
            ),
            private: Some(Private {
                process,
                process_id,
                directory,
            }),
        })
    }

    /// A server that runs. Without tokens it is asked to register users.
    pub(super) async fn remote(
        endpoint: Endpoint,
        tokens: Vec<String>,
        users: usize,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let mut client = Client::new(endpoint.clone(), true, patience);
        // Also where tokens are given: a wrong address is told before the first picture, and in one sentence.
        let path = endpoint.path("/healthz");
        let answer = client.send(&Outgoing::get(&path, None)).await;
        let url = endpoint.url();
        match answer {
            Err(NoAnswer::Connect(error)) => {
                let sentence = format!("cannot connect to {url}: {error}");
                return Err(format!("{sentence}; does a server listen there?").into());
            }
            Err(NoAnswer::Handshake(error)) => {
                let sentence = format!("cannot connect to {url} by TLS: {error}");
                let hint = "does it speak TLS, and is its certificate, or who signed it, in --ca?";
                return Err(format!("{sentence}; {hint}").into());
            }
            _ => {}
        }
        let tokens = if tokens.is_empty() {
            registered(&endpoint, &mut client, users).await?
        } else {
            tokens
        };
        Ok(Self {
            name: endpoint.url(),
            endpoint,
            tokens,
            private: None,
        })
    }

    /// Where its costs can be read, for a server of one's own.
    pub(super) fn usage(&self) -> Option<Usage> {
        let private = self.private.as_ref()?;
        Some(Usage::of(private.process_id))
    }

    /// Ends a server of one's own; one that does not end well has failed.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        let Some(mut private) = self.private else {
            return Ok(());
        };
        let pid = i32::try_from(private.process_id)
            .ok()
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Gone already, at the worst; then waiting tells how.
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = timeout(STOP_WITHIN, private.process.wait()).await;
        let log = private.directory.path().join("server.log");
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!(
                "the private server ended with {status}: {}",
                last_lines(&log)
            )
            .into()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(format!(
                "the private server does not end within {} s",
                STOP_WITHIN.as_secs()
            )
            .into()),
        }
    }
}

/// When the first of the tokens expires, from now. None where they do not say.
pub(super) fn shortest_life(tokens: &[String]) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let expiries = tokens.iter().filter_map(|token| expiry(token));
    Some(expiries.min()?.saturating_sub(now))
}

/// The `exp` of a token, which is not verified: the server does that.
fn expiry(token: &str) -> Option<Duration> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(Duration::from_secs(claims.get("exp")?.as_u64()?))
}

/// A temporary directory on the same file system as the configured store: a private one in memory would not wait for
/// a disk.
fn beside(data_dir: &Path) -> Result<TempDir, Failure> {
    let absolute = std::path::absolute(data_dir)?;
    let place = absolute
        .ancestors()
        .skip(1)
        .find(|directory| directory.is_dir())
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let made = tempfile::Builder::new()
        .prefix(".pockitd-bench-")
        .tempdir_in(&place);
    made.map_err(|error| {
        let place = place.display();
        format!(
            "cannot make a temporary store in {place}: {error}; name another place with --data-dir"
        )
        .into()
    })
}

/// Users of the temporary store, each with a token.
async fn made_tokens(config: Config, users: usize) -> Result<Vec<String>, Failure> {
    let admin = Admin::open(&config).await?;
    let mut tokens = Vec::with_capacity(users);
    for number in 0..users {
        let address = format!("user{number}@bench.invalid");
        let email: Email = address.parse()?;
        admin.add_user(email, None, None, None).await?;
        tokens.push(admin.token_for(&address, Some(TOKEN_TTL_S)).await?);
    }
    admin.close().await?;
    Ok(tokens)
}

async fn registered(
    endpoint: &Endpoint,
    client: &mut Client,
    users: usize,
) -> Result<Vec<String>, Failure> {
    let path = endpoint.path("/api/auth/register/");
    let run = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    let mut tokens = Vec::with_capacity(users);
    for number in 0..users {
        let email = format!("bench-{run}-{number}@bench.invalid");
        let body = json!({ "email": email, "password": format!("bench {run} {number}") });
        let answer = client
            .send(&Outgoing {
                method: "POST",
                path: &path,
                token: None,
                content_type: Some("application/json"),
                body: Bytes::from(body.to_string()),
            })
            .await;
        let cannot = |why: String| {
            format!(
                "cannot register a user at {path}: {why}; give tokens of existing users with --token or --token-file"
            )
        };
        let answer = answer.map_err(|failure| cannot(service::chain(&failure)))?;
        let parsed: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let access = parsed
            .as_ref()
            .and_then(|body| body.get("access")?.as_str());
        match access {
            Some(access) if answer.is_success() => tokens.push(access.to_owned()),
            _ => {
                let status = answer.status;
                let body = super::excerpt(&answer.body);
                return Err(cannot(format!("the server answered {status} {body}")).into());
            }
        }
    }
    Ok(tokens)
}

/// The URL that a starting server prints; none if it ends or says something else.
async fn listening(process: &mut Child) -> Option<String> {
    let mut lines = BufReader::new(process.stdout.take()?).lines();
    let line = timeout(START_WITHIN, lines.next_line()).await;
    let line = line.ok()?.ok()??;
    line.strip_prefix("listening on ").map(str::to_owned)
}

fn last_lines(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(LOG_LINES_MAX);
    lines.get(first..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_of_tokens_is_that_of_the_first_to_expire() {
        let token = |exp: u64| {
            let claims = json!({ "exp": exp }).to_string();
            format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let tokens = [
            token(now.saturating_add(900)),
            token(now.saturating_add(300)),
            "opaque".to_owned(),
        ];

        let life = shortest_life(&tokens).unwrap();

        assert!((200..=300).contains(&life.as_secs()), "{life:?}");
        assert_eq!(shortest_life(&["opaque".to_owned()]), None);
    }
}
