//! The worker's side: lock in, then work until the server hangs up. Runs in a process of its own, without threads, log or
//! configuration.
//!
//! A picture that C or C++ reads is the first and the last of its worker: it finds no other picture in memory, and none
//! comes after it.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::config;
use crate::domain::picture::Crop;
use crate::domain::picture::Rendition;
use crate::imaging::Renderer;
use crate::imaging::{Step, Watcher};
use crate::workers::protocol;
use crate::workers::protocol::{Announced, Answer, Forbidden, Job, Ready, Reply, Setup};
use crate::workers::sandbox;
use crate::workers::took::Took;

/// Exit code when the socket to the server breaks or speaks nonsense.
const BROKEN: u8 = 3;

/// Side of the picture that a worker makes before it is locked in.
const WARM_UP_PX: u16 = 16;

/// Works for the server at the other end of standard input and output, then ends.
#[must_use]
pub fn run() -> ExitCode {
    match work(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The server reads the last words of a worker that ends. If it is not there any more, nobody does.
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::from(BROKEN)
        }
    }
}

fn work(input: &mut impl Read, out: &mut impl Write) -> io::Result<()> {
    let setup: Setup = protocol::read(input)?;
    sandbox::bound(setup.memory_bytes_max)?;
    // Warm: tables, processor detection and libraries that want to open files do so now, with the least of pictures.
    let least = config::Picture {
        sizes_px: vec![WARM_UP_PX],
        ..setup.picture.clone()
    };
    drop(Renderer::new(least).placeholder());
    let picture = setup.picture;
    let mut renderer = Renderer::new(picture.clone());
    let (seccomp, landlock) = sandbox::lock_in();
    protocol::write(out, &Ready { seccomp, landlock })?;
    out.flush()?;
    // The server hangs up when it does not need this worker any more: no job, no error.
    while let Ok(job) = protocol::read(input) {
        perform(&mut renderer, &picture, job, input, out)?;
        if !job.is_safe() {
            break;
        }
        give_memory_back();
    }
    Ok(())
}

fn perform(
    renderer: &mut Renderer,
    picture: &config::Picture,
    job: Job,
    input: &mut impl Read,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut stopwatch = Stopwatch::default();
    let begin = processor_time();
    let (reply, renditions) = match job {
        Job::Render {
            length,
            crop,
            size_px_max,
            native,
        } => {
            let mut upload = Vec::new();
            input.take(length).read_to_end(&mut upload)?;
            // For this job only: the next one may be anybody's.
            let mut limited = size_px_max.map(|most| Renderer::new(picture.up_to(most)));
            let renderer = limited.as_mut().unwrap_or(renderer);
            render(renderer, &upload, crop, native, &mut stopwatch)
        }
        Job::Placeholder => match renderer.placeholder() {
            Ok(renditions) => (Reply::Placeholder(announced(&renditions)), renditions),
            Err(error) => (Reply::Refused(error), Vec::new()),
        },
        Job::Attempt(forbidden) => (Reply::Attempted(attempt(forbidden)), Vec::new()),
    };
    let mut took = stopwatch.stop();
    took.processor = Some(processor_time().saturating_sub(begin));
    protocol::write(out, &Answer { reply, took })?;
    for rendition in &renditions {
        out.write_all(&rendition.bytes)?;
    }
    out.flush()
}

fn render(
    renderer: &mut Renderer,
    upload: &[u8],
    crop: Option<Crop>,
    native: bool,
    stopwatch: &mut Stopwatch,
) -> (Reply, Vec<Rendition>) {
    let outcome = if native {
        renderer.render_watched(upload, crop, stopwatch).map(Some)
    } else {
        renderer.render_in_rust(upload, crop, stopwatch)
    };
    match outcome {
        Ok(Some(done)) => {
            let reply = Reply::Rendered {
                format: done.format,
                decoder: done.decoder,
                width: done.width,
                height: done.height,
                thumbhash: done.thumbhash,
                applied: done.applied,
                renditions: announced(&done.renditions),
            };
            (reply, done.renditions)
        }
        Ok(None) => (Reply::NeedsNative, Vec::new()),
        Err(error) => (Reply::Refused(error), Vec::new()),
    }
}

/// Measures the steps of one picture.
#[derive(Debug, Default)]
struct Stopwatch {
    took: Took,
    running: Option<(Step, Instant)>,
}

impl Stopwatch {
    /// Ends the step that runs. Returns all of them.
    fn stop(&mut self) -> Took {
        if let Some((step, since)) = self.running.take() {
            self.took.add(step, since.elapsed());
        }
        self.took
    }
}

impl Watcher for Stopwatch {
    fn begins(&mut self, step: Step) {
        self.stop();
        self.running = Some((step, Instant::now()));
    }
}

/// Time that this process has had of processors.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    #[expect(
        unsafe_code,
        reason = "the C library's way to read the clock of a process"
    )]
    // SAFETY: writes to the value that it is given, which outlives the call.
    unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time);
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// Lets a worker that waits be small, however large its last picture was.
fn give_memory_back() {
    #[expect(unsafe_code, reason = "the C library's way to return free memory")]
    // SAFETY: touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn announced(renditions: &[Rendition]) -> Vec<Announced> {
    let announce = |rendition: &Rendition| Announced {
        size_px: rendition.size_px,
        length: u32::try_from(rendition.bytes.len()).unwrap_or(u32::MAX),
    };
    renditions.iter().map(announce).collect()
}

/// Tries what must not work. Usually the kernel ends the process before this returns.
fn attempt(forbidden: Forbidden) -> Result<(), String> {
    let outcome = match forbidden {
        Forbidden::OpenFile => std::fs::File::open("/etc/passwd").map(drop),
        Forbidden::MakeSocket => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        Forbidden::Fork => std::process::Command::new("/bin/true").spawn().map(drop),
        Forbidden::MapExecutable => map_executable(),
        Forbidden::KillItself => kill_itself(),
    };
    outcome.map_err(|error| error.to_string())
}

fn kill_itself() -> io::Result<()> {
    #[expect(unsafe_code, reason = "the C library's way to signal its own thread")]
    // SAFETY: takes a number and gives one.
    let result = unsafe { libc::raise(libc::SIGKILL) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn map_executable() -> io::Result<()> {
    use rustix::mm::{MapFlags, ProtFlags};
    let protection = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
    #[expect(
        unsafe_code,
        reason = "a fresh anonymous mapping that nothing refers to; it is never used"
    )]
    // SAFETY: the address is the kernel's choice and the mapping is not accessed.
    let mapped = unsafe {
        rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4_096, protection, MapFlags::PRIVATE)
    };
    Ok(mapped.map(drop)?)
}
