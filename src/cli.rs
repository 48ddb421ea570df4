//! The command line: arguments to configuration, one call, an exit code.
//!
//! stdout carries data, stderr the rest. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod admin;
mod audit;
mod bench_upload;
mod check;
mod errand;
mod manager;
mod memory;
mod migrate;
mod owner;
mod progress;
mod serve;
mod settings;

use std::error::Error as StdError;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use rustix::fs::Mode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::cli::errand::Errand;
use crate::config;
use crate::config::{Config, Sources};
use crate::service;
use crate::workers;

/// What a subcommand fails with; printed once, with its causes, in [`main`].
pub type Failure = Box<dyn StdError + Send + Sync>;

/// End of the help of the whole program.
const ABOUT_ALL: &str = "\
Nothing needs to be configured. The later wins: defaults, the file of --config, the environment (POCKIT_HTTP__LISTEN \
for http.listen), flags. `config show` prints what is in force and where it comes from; pockit.toml(5) \
explains every key.

Exit codes: 0 done, 1 failed, 2 wrong usage.

Examples:
  pockitd serve
  pockitd user add ada@example.org --name Ada
  pockitd token ada@example.org --ttl 12h
  pockitd help check store";

/// Self-hosted profile-picture server: any phone photo in, a clean square JPEG out.
#[derive(Debug, Parser)]
#[command(
    name = "pockitd",
    version,
    max_term_width = 100,
    after_help = ABOUT_ALL,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
struct Common {
    /// Configuration file; without it pockit.toml in this directory, else /etc/pockitd/pockit.toml, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the database and the signing key (`storage.data_dir`)
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Set any key of the configuration, such as picture.fit=pad; may be repeated
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Say on stderr whether a running server does the work or the command itself
    #[arg(short, long, global = true)]
    verbose: bool,
    /// What to log on stderr: error, warn, info, debug, trace, or target=level,…
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", value_parser = log_filter)]
    log: String,
    /// How to write the log
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

impl Common {
    /// The flags that give another process of this binary the same configuration and log.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--log".into(), self.log.clone().into()];
        if let Some(format) = self.log_format.to_possible_value() {
            arguments.push("--log-format".into());
            arguments.push(format.get_name().into());
        }
        if let Some(file) = &self.config {
            arguments.push("--config".into());
            arguments.push(file.into());
        }
        for (key, value) in &self.set {
            arguments.push("--set".into());
            arguments.push(format!("{key}={value}").into());
        }
        arguments
    }
}

/// Form of a line of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    #[command(
        after_help = "Examples:\n  pockitd serve\n  pockitd serve --listen 0.0.0.0:8080 --data-dir /var/lib/pockitd"
    )]
    Serve(serve::Arguments),
    /// Add, list and delete users
    #[command(
        subcommand,
        after_help = "Examples:\n  pockitd user add ada@example.org --name Ada\n  pockitd user list --json"
    )]
    User(admin::User),
    /// Print an access token for a user
    #[command(
        after_help = "Examples:\n  pockitd token ada@example.org\n  pockitd token ada@example.org --ttl 12h"
    )]
    Token(admin::Token),
    /// Move users and pictures in and out, and the store forward
    #[command(
        subcommand,
        after_help = "Examples:\n  pockitd migrate export backup.tar\n  pockitd migrate import backup.tar"
    )]
    Migrate(migrate::Migrate),
    /// Remove pictures that no profile points at, and find profiles whose picture cannot be read
    #[command(
        after_help = "Safe while a server runs. The space is used again by the store; the file system does not get it \
        back.\n\nExamples:\n  pockitd gc-pictures --dry-run\n  pockitd gc-pictures --repair --json"
    )]
    GcPictures(audit::GcPictures),
    /// Ask about this machine, a running server, or what is stored
    #[command(
        subcommand,
        after_help = "Examples:\n  pockitd check sandbox\n  pockitd check store\n  pockitd check health"
    )]
    Check(check::Check),
    /// Show or check the configuration
    #[command(
        subcommand,
        after_help = "Examples:\n  pockitd config show\n  pockitd config check"
    )]
    Config(settings::Settings),
    /// Print what a shell needs to complete this command line
    #[command(
        after_help = "Examples:\n  pockitd completions bash > /etc/bash_completion.d/pockitd\n  pockitd completions zsh > \
        ~/.zfunc/_pockitd\n  pockitd completions fish > ~/.config/fish/completions/pockitd.fish"
    )]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Measure uploads: of a private server with this configuration, or of the one at --url
    #[command(after_help = bench_upload::EXAMPLES)]
    BenchUpload(Box<bench_upload::Arguments>),
    /// Decode one picture for the server at the other end of standard input; not for people
    #[command(name = workers::SUBCOMMAND, hide = true)]
    DecodeWorker,
}

/// A shell that can be helped.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with 0, mistakes to stderr with 2. A closed pipe is no failure.
            drop(error.print());
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    cli.common.set = all_set(std::env::args_os());
    // Whatever is written holds addresses, password hashes, keys or faces: it is for this user only, also in a data
    // directory that others may enter.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    if matches!(cli.command, Command::DecodeWorker) {
        return workers::child::run();
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if is_broken_pipe(failure.as_ref()) => ExitCode::SUCCESS,
        Err(failure) => {
            drop(writeln!(
                io::stderr(),
                "pockitd: {}",
                service::chain(failure.as_ref())
            ));
            ExitCode::FAILURE
        }
    }
}

/// The clap tree, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn run(cli: Cli) -> Result<(), Failure> {
    start_log(&cli.common)?;
    let config = |texts| load(&cli.common, texts);
    let verbose = cli.common.verbose;
    let errand = |config| Errand { config, verbose };
    match cli.command {
        Command::Serve(arguments) => {
            let texts = arguments.texts();
            serve::run(arguments.applied(config(texts.clone())?), &|| {
                load(&cli.common, texts.clone())
            })
        }
        Command::Migrate(command) => migrate::run(&errand(config(Vec::new())?), command),
        Command::User(command) => admin::user(&errand(config(Vec::new())?), command),
        Command::Token(arguments) => admin::token(&errand(config(Vec::new())?), arguments),
        Command::GcPictures(arguments) => {
            audit::gc_pictures(&errand(config(Vec::new())?), &arguments)
        }
        Command::Check(check) => check::run(errand(config(Vec::new())?), &check),
        Command::BenchUpload(arguments) => {
            bench_upload::run(|| config(Vec::new()), &cli.common.arguments(), &arguments)
        }
        Command::Config(command) => settings::run(&sources(&cli.common, Vec::new()), &command),
        Command::Completions { shell } => Ok(complete(shell)?),
        Command::DecodeWorker => Ok(()),
    }
}

fn load(common: &Common, texts: Vec<(String, String)>) -> Result<Config, config::Error> {
    config::load(&sources(common, texts))
}

/// Where the configuration comes from, with the flags that stand for a key.
fn sources(common: &Common, mut texts: Vec<(String, String)>) -> Sources {
    if let Some(directory) = &common.data_dir {
        texts.push((
            "storage.data_dir".to_owned(),
            directory.to_string_lossy().into_owned(),
        ));
    }
    Sources {
        file: common.config.clone(),
        set: common.set.clone(),
        texts,
    }
}

fn complete(shell: Shell) -> io::Result<()> {
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let whole = command();
    let shown = whole.get_subcommands().filter(|inner| !inner.is_hide_set());
    let mut shown = clap::Command::new("pockitd")
        .args(whole.get_arguments().cloned())
        .subcommands(shown.cloned());
    // Into memory first: the library cannot say that a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut shown, "pockitd", &mut script);
    io::stdout().lock().write_all(&script)
}

fn start_log(common: &Common) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&common.log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_target(false)
        .with_ansi(is_colored())
        .with_writer(io::stderr);
    match common.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Colours are for terminals, and for those who want them: <https://no-color.org>.
fn is_colored() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

/// One line on stdout.
fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("want SECTION.KEY=VALUE, such as picture.fit=pad")?;
    if key.split('.').count() != 2 {
        return Err(format!("{key:?} is not SECTION.KEY, such as picture.fit"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// What every `--set` says, in order. Of an option that stands before the command and behind it, the parser keeps only
/// what is behind, and has looked at both.
fn all_set(arguments: impl IntoIterator<Item = OsString>) -> Vec<(String, String)> {
    let mut arguments = arguments.into_iter().map(OsString::into_string);
    let mut found = Vec::new();
    while let Some(argument) = arguments.next() {
        let Ok(argument) = argument else { continue };
        let value = match argument.as_str() {
            "--" => break,
            "--set" => arguments.next().and_then(Result::ok),
            other => other.strip_prefix("--set=").map(str::to_owned),
        };
        found.extend(value.and_then(|value| key_value(&value).ok()));
    }
    found
}

fn log_filter(text: &str) -> Result<String, String> {
    let filter = EnvFilter::try_new(text).map_err(|error| error.to_string());
    filter.map(|_| text.to_owned())
}

fn is_broken_pipe(failure: &(dyn StdError + 'static)) -> bool {
    failure
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_tree_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_set_counts_wherever_it_stands() {
        let arguments = [
            "pockitd",
            "--set",
            "a.b=1",
            "serve",
            "--set=c.d=2",
            "--set",
            "a.b=3",
            "--",
            "--set",
            "e.f=4",
        ];
        let found = all_set(arguments.map(OsString::from));

        let expected = [("a.b", "1"), ("c.d", "2"), ("a.b", "3")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn set_wants_a_section_a_key_and_a_value() {
        assert_eq!(
            key_value("picture.fit=pad"),
            Ok(("picture.fit".to_owned(), "pad".to_owned()))
        );
        assert!(key_value("picture.fit").is_err());
        assert!(key_value("fit=pad").is_err());
    }
}
