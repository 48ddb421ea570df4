//! What the server and a decode worker say to each other over a socket pair.
//!
//! A message is a frame: four bytes of length (big endian), then that many bytes of JSON, then the raw bytes that the
//! JSON announces. The server believes nothing: every length is bounded before it is allocated for, and the answer is
//! checked again by [`super::answer`].

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::config;
use crate::domain::picture::Applied;
use crate::domain::picture::Crop;
use crate::domain::picture::Format;
use crate::imaging;
use crate::imaging::Decoder;
use crate::workers::took::Took;

/// Longest JSON of a frame, in bytes. The longest of ours, a rendered picture in eight sizes, has below 1 KiB.
pub(super) const FRAME_BYTES_MAX: u32 = 64 * 1_024;

/// Server to worker, once, before the worker locks itself in.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Setup {
    pub(super) picture: config::Picture,
    pub(super) memory_bytes_max: u64,
}

/// Worker to server, once, when it is locked in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Ready {
    /// What keeps the worker in, or why it does not.
    pub(super) seccomp: Result<(), String>,
    pub(super) landlock: Result<String, String>,
}

/// Server to worker: the next thing to do.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) enum Job {
    /// Make renditions of the `length` bytes that follow, in the configured sizes up to `size_px_max`. Where `native`
    /// allows C and C++ to read them, it is the worker's first job and its last.
    Render {
        length: u64,
        crop: Option<Crop>,
        size_px_max: Option<u16>,
        native: bool,
    },
    /// Make the picture of users without one.
    Placeholder,
    /// Try something forbidden.
    Attempt(Forbidden),
}

impl Job {
    /// Whether no C or C++ reads a stranger's bytes: the worker may have done other jobs, and may do more.
    pub(super) fn is_safe(self) -> bool {
        match self {
            Self::Render { native, .. } => !native,
            Self::Placeholder => true,
            Self::Attempt(_) => false,
        }
    }
}

/// What a worker must not be able to do; tried by `pockitd check sandbox`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Forbidden {
    /// Read a file.
    OpenFile,
    /// Talk to the network.
    MakeSocket,
    /// Start another process.
    Fork,
    /// Bring in code.
    MapExecutable,
    /// End as if somebody else had killed it.
    KillItself,
}

/// Worker to server: what came of the job. The renditions' bytes follow, in order.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) took: Took,
}

/// What an [`Answer`] says.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Reply {
    Rendered {
        format: Format,
        decoder: Decoder,
        width: u16,
        height: u16,
        thumbhash: Vec<u8>,
        applied: Vec<Applied>,
        renditions: Vec<Announced>,
    },
    /// It takes C or C++ to decode this, which was not allowed.
    NeedsNative,
    Placeholder(Vec<Announced>),
    Refused(imaging::Error),
    /// The forbidden thing was refused with this error, or went through.
    Attempted(Result<(), String>),
}

/// A rendition whose bytes follow.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Announced {
    pub(super) size_px: u16,
    pub(super) length: u32,
}

/// Writes a frame: the worker's side.
pub(super) fn write(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    out.write_all(&framed(message)?)
}

/// Reads a frame: the worker's side.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut json = buffer(u32::from_be_bytes(length), FRAME_BYTES_MAX)?;
    input.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// Writes a frame: the server's side.
pub(super) async fn send(
    out: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    out.write_all(&framed(message)?).await
}

/// Reads a frame: the server's side.
pub(super) async fn receive<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let mut length = [0; 4];
    input.read_exact(&mut length).await?;
    let mut json = buffer(u32::from_be_bytes(length), FRAME_BYTES_MAX)?;
    input.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

/// Zeroed room for `length` bytes, if that is within the bound.
pub(super) fn buffer(length: u32, length_max: u32) -> io::Result<Vec<u8>> {
    if length > length_max {
        let sentence = format!("a message announces {length} bytes, the limit is {length_max}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, sentence));
    }
    Ok(vec![0; usize::try_from(length).unwrap_or(usize::MAX)])
}

fn framed(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(json.len().saturating_add(4));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&json);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_comes_out_as_it_went_in() {
        let mut wire = Vec::new();
        let job = Job::Render {
            length: 7,
            crop: Some(Crop {
                x: 1,
                y: 2,
                width: 3,
                height: 4,
            }),
            size_px_max: None,
            native: true,
        };

        write(&mut wire, &job).unwrap();
        let back: Job = read(&mut wire.as_slice()).unwrap();

        assert_eq!(format!("{back:?}"), format!("{job:?}"));
    }

    #[test]
    fn length_beyond_the_bound_is_refused_before_it_is_allocated() {
        let wire = [0xFF, 0xFF, 0xFF, 0xFF, b'{'];

        let error = read::<Job>(&mut wire.as_slice()).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
