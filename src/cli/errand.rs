//! Has a task done: by the server that has the data directory, else in this process over the store itself.
//!
//! Which of the two makes no difference but for `-v`: both answer with the same events.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::cli::Failure;
use crate::cli::owner;
use crate::config::Config;
use crate::http::admin;
use crate::http::admin::client;
use crate::http::admin::client::Input;
use crate::service::StartError;
use crate::service::admin::{Admin, EVENTS_WAITING_MAX, Event, Task};
use crate::storage;

/// How long to wait for a data directory that another process has: a command like this one, or a server that opens
/// its store and has no socket yet.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Part of standard input that is kept at once, in bytes.
const PART_BYTES: usize = 64 * 1_024;

/// What every such command is told.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) config: Config,
    /// Whether to say on stderr who does the work.
    pub(super) verbose: bool,
}

/// Who does the work.
enum Way {
    Server(client::Events),
    Here(Box<Admin>),
}

impl Errand {
    /// Has the task done and shows its events.
    pub(super) fn run(
        &self,
        task: Task,
        show: impl FnMut(Event) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.run_with(task, Input::None, show)
    }

    /// The same with a file that goes with the task.
    pub(super) fn run_with(
        &self,
        task: Task,
        input: Input,
        show: impl FnMut(Event) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            match self.way(&task, &input).await? {
                Way::Server(events) => from_server(events, show).await,
                Way::Here(admin) => {
                    let outcome = match kept(&admin, input) {
                        Ok(file) => here(&admin, task, file, show).await,
                        Err(failure) => Err(failure),
                    };
                    admin.close().await?;
                    outcome
                }
            }
        })
    }

    async fn way(&self, task: &Task, input: &Input) -> Result<Way, Failure> {
        let data_dir = &self.config.storage.data_dir;
        let until = Instant::now().checked_add(PATIENCE);
        loop {
            if let Some(events) = client::ask(data_dir, task, input).await? {
                let socket = data_dir.join(admin::FILE_NAME);
                self.say(&format!("asked the server at {}", socket.display()));
                return Ok(Way::Server(events));
            }
            owner::check(data_dir)?;
            match Admin::open(&self.config).await {
                Err(StartError::Storage(storage::Error::InUse { .. }))
                    if until.is_some_and(|until| Instant::now() < until) =>
                {
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
                Ok(admin) => {
                    let place = data_dir.display();
                    self.say(&format!("no server has {place}; opened the store"));
                    return Ok(Way::Here(Box::new(admin)));
                }
            }
        }
    }

    fn say(&self, sentence: &str) {
        if self.verbose {
            drop(writeln!(io::stderr(), "pockitd: {sentence}"));
        }
    }
}

/// The file that goes with the task, as one that can be read twice.
fn kept(admin: &Admin, input: Input) -> Result<Option<File>, Failure> {
    match input {
        Input::None => Ok(None),
        Input::File(file) => Ok(Some(file)),
        Input::Stdin => {
            let unkept = |error: io::Error| format!("cannot keep standard input: {error}");
            let mut kept = admin.unnamed_file()?;
            let mut stdin = io::stdin().lock();
            let mut part = vec![0; PART_BYTES];
            loop {
                let bytes = match stdin.read(&mut part) {
                    Ok(0) => break,
                    Ok(length) => part.get(..length).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(unkept(error).into()),
                };
                // What must stay free for the store is not taken for a file that it is to be filled from.
                admin.check_room(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
                kept.write_all(bytes).map_err(unkept)?;
            }
            kept.rewind().map_err(unkept)?;
            Ok(Some(kept))
        }
    }
}

async fn from_server(
    mut events: client::Events,
    mut show: impl FnMut(Event) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        match events.next().await? {
            Event::Done => return Ok(()),
            Event::Failed { sentence } => return Err(sentence.into()),
            event => show(event)?,
        }
    }
}

async fn here(
    admin: &Admin,
    task: Task,
    input: Option<File>,
    mut show: impl FnMut(Event) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (sender, mut events) = mpsc::channel(EVENTS_WAITING_MAX);
    let work = admin.report(task, input, sender);
    let shown = async move {
        while let Some(event) = events.recv().await {
            match event {
                Event::Done => return Ok(()),
                Event::Failed { sentence } => return Err(sentence.into()),
                event => show(event)?,
            }
        }
        Err("the work was cut off".into())
    };
    // What cannot be shown ends the work: dropped with `shown`, the receiver refuses the next event.
    let (outcome, ()) = tokio::join!(shown, work);
    outcome
}
