//! `pockitd bench-upload`: how fast a server takes pictures, and what that costs.
//!
//! Warm-up, then the run, then a look at what the server made of it. Without `--url` the server is this binary, as a
//! process of its own, on a temporary store beside the configured one.

mod client;
mod interrupt;
pub(super) mod limits;
mod load;
mod photos;
mod progress;
mod report;
mod tally;
mod target;
mod tls;
mod usage;
mod verify;

use std::ffi::OsString;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::interval;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::Failure;
use crate::cli::bench_upload::client::Endpoint;
use crate::cli::bench_upload::interrupt::Interrupt;
use crate::cli::bench_upload::limits::Limit;
use crate::cli::bench_upload::load::{End, Live, Load};
use crate::cli::bench_upload::report::{Cost, Report};
use crate::cli::bench_upload::tally::Tally;
use crate::cli::bench_upload::target::Target;
use crate::cli::bench_upload::usage::Usage;
use crate::cli::bench_upload::verify::Verified;
use crate::cli::print_line;
use crate::config;
use crate::config::Config;

/// Connections where `--concurrency` is not given: closed loop, open loop.
const CONNECTIONS: (usize, usize) = (8, 64);
/// How much of a body is shown, in characters.
const EXCERPT_CHARS: usize = 160;
/// Between two looks at the memory of a private server.
const MEMORY_EVERY: Duration = Duration::from_millis(20);

/// End of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  pockitd bench-upload
  pockitd bench-upload --synthetic 12mp,48mp,png,heic --concurrency 16 --duration 30s
  pockitd bench-upload --image photo.heic --rate 20 --fail-over p99=5s --fail-over errors=0
  pockitd bench-upload --url http://127.0.0.1:8080 --token \"$(pockitd token ada@example.org --ttl 1h)\"
  pockitd bench-upload --url https://localhost:8443 --ca /etc/pockitd/tls.pem --users 4 --uploads 100

With --url it replaces the pictures of the users it is given, and leaves the users behind that it registers.
Ctrl-C ends the run early and shows what was measured until then.
Exit code 1: a limit of --fail-over was missed, an answer was wrong, no upload was accepted, or the run was interrupted.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Server to measure, such as `http://127.0.0.1:8080` or `https://pictures.example.org`; without it a private one on a temporary store
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Certificates in PEM to know an https server by, in place of the system's: its own, or of who signed it
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Access token of a user at --url, may be repeated; without any, users are registered there
    #[arg(long, value_name = "TOKEN", requires = "url")]
    token: Vec<String>,
    /// File with such tokens, one a line
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Users that are made; as many as connections if not given
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["token", "token_file"])]
    users: Option<NonZeroUsize>,
    /// Photos to upload, in turn
    #[arg(long, value_name = "FILE", num_args = 1..)]
    image: Vec<PathBuf>,
    /// Photos to make and upload: sizes such as 12mp or 48mp (baseline JPEG, EXIF orientation 6), png (a screenshot), heic
    /// (12 megapixels in tiles, Display P3, turned by irot); 12mp if there is no --image
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    synthetic: Vec<photos::Kind>,
    /// Seed of the photos that are made
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Connections, each with one upload in flight; 8, or 64 with --rate
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<NonZeroUsize>,
    /// Uploads a second, due at fixed times whatever the server does; latency counts from when they were due
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    rate: Option<f64>,
    /// Length of the run, such as 30s or 2m; 10s if there is no --uploads
    #[arg(long, value_name = "TIME", value_parser = limits::positive_duration, conflicts_with = "uploads")]
    duration: Option<Duration>,
    /// Length of the run, in uploads, in place of --duration
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    uploads: Option<u64>,
    /// Load before the run, which does not count
    #[arg(long, value_name = "TIME", value_parser = limits::duration, default_value = "1s")]
    warm_up: Duration,
    /// Longest wait for an answer
    #[arg(long, value_name = "TIME", value_parser = limits::positive_duration, default_value = "30s")]
    timeout: Duration,
    /// Make a connection for each upload
    #[arg(long)]
    no_keep_alive: bool,
    /// Users whose pictures are fetched and decoded after the run
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    verify: usize,
    /// Also write the figures as JSON; - writes them to stdout in place of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail when a figure is over its limit: p50, p90, p99, p99.9 or max=TIME, errors=PERCENT; may be repeated
    #[arg(long, value_name = "FIGURE=LIMIT")]
    fail_over: Vec<Limit>,
}

impl Arguments {
    fn connections(&self) -> usize {
        let (closed, open) = CONNECTIONS;
        let unsaid = if self.rate.is_some() { open } else { closed };
        self.concurrency.map_or(unsaid, NonZeroUsize::get)
    }

    fn users(&self) -> usize {
        self.users.map_or(self.connections(), NonZeroUsize::get)
    }

    fn end(&self) -> End {
        match (self.uploads, self.duration) {
            (Some(uploads), _) => End::Uploads(uploads),
            (None, duration) => End::After(duration.unwrap_or(Duration::from_secs(10))),
        }
    }

    /// Whether the figures can be written when there are some.
    fn check_json(&self) -> Result<(), Failure> {
        let Some(file) = self.json.as_ref().filter(|file| file.as_os_str() != "-") else {
            return Ok(());
        };
        // Leaves what is in it until there is something better.
        let opened = fs::OpenOptions::new().append(true).create(true).open(file);
        opened.map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        Ok(())
    }

    /// The tokens that were given.
    fn tokens(&self) -> Result<Vec<String>, Failure> {
        let mut tokens = self.token.clone();
        if let Some(file) = &self.token_file {
            let text = fs::read_to_string(file).map_err(|error| {
                format!("cannot read the tokens in {}: {error}", file.display())
            })?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            tokens.extend(lines.map(str::to_owned));
            if tokens.is_empty() {
                return Err(format!("no token in {}", file.display()).into());
            }
        }
        Ok(tokens)
    }
}

/// `pockitd bench-upload`. The configuration and `common`, the flags that lead to it, are for a private server only.
pub(super) fn run(
    config: impl FnOnce() -> Result<Config, config::Error>,
    common: &[OsString],
    arguments: &Arguments,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // What is wrong with the arguments is told before anything is started.
        let tokens = arguments.tokens()?;
        let endpoint = match &arguments.url {
            Some(url) => Some(Endpoint::parse(url, arguments.ca.as_deref())?),
            None => None,
        };
        arguments.check_json()?;
        let unsaid = [photos::Kind::Jpeg { megapixels: 12 }];
        let kinds = match (arguments.image.is_empty(), arguments.synthetic.as_slice()) {
            (true, []) => &unsaid,
            (_, kinds) => kinds,
        };
        let photos = photos::all(&arguments.image, kinds, arguments.seed)?;
        let users = arguments.users();
        let target = match endpoint {
            None => Target::private(config()?, common, users).await?,
            Some(endpoint) => Target::remote(endpoint, tokens, users, arguments.timeout).await?,
        };
        let outcome = measure(arguments, &target, photos).await;
        target.stop().await?;
        outcome
    })
}

async fn measure(
    arguments: &Arguments,
    target: &Target,
    photos: Vec<photos::Photo>,
) -> Result<(), Failure> {
    let end = arguments.end();
    check_tokens(arguments, target, end)?;
    let load = Load {
        endpoint: target.endpoint.clone(),
        tokens: target.tokens.clone(),
        photos,
        concurrency: arguments.connections(),
        rate: arguments.rate,
        keep_alive: !arguments.no_keep_alive,
        patience: arguments.timeout,
    };
    let (interrupt, _listening) = Interrupt::listen();
    // Also before a warm-up of no length: the first look at idle memory is before any load.
    let idle = target.usage().and_then(|usage| usage.memory());
    if !arguments.warm_up.is_zero() {
        let end = End::After(arguments.warm_up);
        shown("warm-up", &load, end, &interrupt).await?;
    }
    if interrupt.has_come() {
        return Err("interrupted before the run: nothing was measured".into());
    }
    let watch = target.usage().map(Watch::begin);
    let (tally, elapsed) = shown("run", &load, end, &interrupt).await?;
    let cost = watch.zip(idle).and_then(|(watch, idle)| watch.end(idle));
    let is_whole = !interrupt.has_come();
    let verified = tokio::select! {
        verified = verify::sample(&load, &tally, arguments.verify) => verified,
        () = interrupt.give_up.cancelled() => Verified::default(),
    };
    let report = Report {
        server: &target.name,
        load: &load,
        tally: &tally,
        elapsed,
        is_whole,
        cost,
        verified: &verified,
    };
    tell(arguments, &report)
}

/// Prints the report and says what is not as it should be.
fn tell(arguments: &Arguments, report: &Report<'_>) -> Result<(), Failure> {
    let missed = report.misses(&arguments.fail_over);
    let json = format!("{:#}", report.json(&missed));
    match &arguments.json {
        Some(file) if file.as_os_str() == "-" => print_line(&json)?,
        Some(file) => {
            print_line(report.text().trim_end())?;
            fs::write(file, json + "\n")
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        }
        None => print_line(report.text().trim_end())?,
    }
    if missed.is_empty() {
        Ok(())
    } else {
        Err(missed.join("; ").into())
    }
}

/// Tokens that expire before the run ends would show refusals that say nothing about the server.
fn check_tokens(arguments: &Arguments, target: &Target, end: End) -> Result<(), Failure> {
    let (End::After(duration), Some(life)) = (end, target::shortest_life(&target.tokens)) else {
        return Ok(());
    };
    let run = duration.saturating_add(arguments.warm_up);
    if life >= run {
        return Ok(());
    }
    let (life, run) = (life.as_secs(), run.as_secs());
    let hint = "make longer ones with pockitd token USER --ttl 1h, and give them with --token";
    Err(format!("a token expires in {life} s, warm-up and run take {run} s: {hint}").into())
}

async fn shown(
    title: &'static str,
    load: &Load,
    end: End,
    interrupt: &Interrupt,
) -> Result<(Tally, Duration), Failure> {
    let live = Arc::new(Live::default());
    let _shown = progress::show(title, end, &live);
    load::run(load, end, &live, interrupt).await
}

/// Looks at a private server while it is under load.
struct Watch {
    usage: Usage,
    cpu_before: Option<Duration>,
    peak: Arc<std::sync::atomic::AtomicU64>,
    _looking: AbortOnDropHandle<()>,
}

impl Watch {
    fn begin(usage: Usage) -> Self {
        let peak = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let looking = tokio::spawn({
            let (usage, peak) = (usage.clone(), Arc::clone(&peak));
            async move {
                let mut tick = interval(MEMORY_EVERY);
                loop {
                    tick.tick().await;
                    let now = usage.memory().unwrap_or(0);
                    peak.fetch_max(now, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
        Self {
            cpu_before: usage.cpu(),
            usage,
            peak,
            _looking: AbortOnDropHandle::new(looking),
        }
    }

    fn end(self, memory_before: u64) -> Option<Cost> {
        let cpu = self.usage.cpu()?.saturating_sub(self.cpu_before?);
        Some(Cost {
            cpu,
            memory_before,
            memory_peak: self.peak.load(std::sync::atomic::Ordering::Relaxed),
        })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let found: Option<f64> = text.parse().ok();
    found
        .filter(|rate| (0.001..=1_000_000.0).contains(rate))
        .ok_or_else(|| format!("{text:?} is not a number of uploads a second such as 20"))
}

/// A count as a number to divide by.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a figure for people: 53 bits are enough"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// The begin of a body, on one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut text: String = text
        .chars()
        .take(EXCERPT_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.is_empty() {
        text.push_str("(no body)");
    }
    text
}
