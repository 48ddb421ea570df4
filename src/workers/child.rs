//! The worker's side: lock in, do one job, end. Runs in a process of its own, without threads, log or configuration.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use crate::config;
use crate::domain::picture::Crop;
use crate::domain::picture::Rendition;
use crate::imaging::Renderer;
use crate::workers::protocol;
use crate::workers::protocol::{Announced, Forbidden, Job, Ready, Refused, Reply, Setup};
use crate::workers::sandbox;

/// Exit code when the socket to the server breaks or speaks nonsense.
const BROKEN: u8 = 3;

/// Side of the picture that a worker makes before it is locked in.
const WARM_UP_PX: u16 = 16;

/// Works for the server at the other end of standard input and output, then ends.
#[must_use]
pub fn run() -> ExitCode {
    match work(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(BROKEN),
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
    let picture = setup.picture.clone();
    let mut renderer = Renderer::new(setup.picture);
    let (seccomp, landlock) = sandbox::lock_in();
    protocol::write(out, &Ready { seccomp, landlock })?;
    out.flush()?;
    // The server hangs up when it does not need this worker: no job, no error.
    let Ok(job) = protocol::read(input) else {
        return Ok(());
    };
    let (reply, renditions) = match job {
        Job::Render {
            length,
            crop,
            size_px_max,
        } => {
            if let Some(size_px_max) = size_px_max {
                renderer = Renderer::new(picture.up_to(size_px_max));
            }
            render(&mut renderer, input, length, crop)?
        }
        Job::Placeholder => match renderer.placeholder() {
            Ok(renditions) => (Reply::Placeholder(announced(&renditions)), renditions),
            Err(error) => (Reply::Refused(Refused::from(&error)), Vec::new()),
        },
        Job::Attempt(forbidden) => (Reply::Attempted(attempt(forbidden)), Vec::new()),
    };
    protocol::write(out, &reply)?;
    for rendition in &renditions {
        out.write_all(&rendition.bytes)?;
    }
    out.flush()
}

fn render(
    renderer: &mut Renderer,
    input: &mut impl Read,
    length: u64,
    crop: Option<Crop>,
) -> io::Result<(Reply, Vec<Rendition>)> {
    let mut upload = Vec::new();
    input.take(length).read_to_end(&mut upload)?;
    Ok(match renderer.render(&upload, crop) {
        Ok(done) => {
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
        Err(error) => (Reply::Refused(Refused::from(&error)), Vec::new()),
    })
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
    };
    outcome.map_err(|error| error.to_string())
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
