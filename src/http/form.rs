//! The upload's form: `multipart/form-data` (RFC 7578) with one file `image` and, if wanted, a text `crop`.
//!
//! The file is streamed and counted; reading stops at the limit. Room is taken once the body comes, not when it is
//! announced: clients that announce much and send next to nothing take none of it. Names and types that the client gives
//! are ignored: only content decides what a file is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hyper::HeaderMap;
use hyper::header::CONTENT_DISPOSITION;
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config;
use crate::domain::picture::Crop;
use crate::domain::picture::InvalidCrop;
use crate::domain::user::UserId;
use crate::http::body;
use crate::http::body::Body;
use crate::http::disposition;
use crate::http::disposition::{Disposition, Kind};
use crate::http::request::Refusal;
use crate::http::request::{content_type, media_type};
use crate::http::room::{Place, Room};

/// What the form holds.
#[derive(Debug)]
pub(super) struct Form {
    /// The file. Gives its room among the bodies back when its last copy is dropped.
    pub(super) image: Bytes,
    /// The chosen part of it.
    pub(super) crop: Option<Crop>,
}

/// Longest boundary, in characters. Source: RFC 2046 §5.1.1.
const BOUNDARY_CHARS_MAX: usize = 70;
/// Bytes of a file that may be on their way through the parser, when what is beside the file is counted: some reads of
/// a connection.
const UNDERWAY_BYTES_MAX: u64 = 128 * 1_024;
/// Bytes of a body that may come before it takes room: no more than a connection has in buffers anyway, and more than a
/// client sends that drips.
const UNCOUNTED_BYTES_MAX: u64 = 16 * 1_024;

/// A file and the room that it takes.
struct Held {
    bytes: Vec<u8>,
    _place: Arc<Place>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the form.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    user: &UserId,
    room: &Room,
    config: &config::Http,
) -> Result<Form, Refusal> {
    // Nothing at all is not a wrong kind of something: DRF's answer to a request without a body.
    if body.is_empty() {
        return Err(Refusal::NoFile);
    }
    if media_type(headers) != "multipart/form-data" {
        return Err(Refusal::MediaType(content_type(headers).to_owned()));
    }
    let boundary = boundary(headers)?;
    let limit = config.upload_bytes_max;
    let body_max = limit.saturating_add(config.form_overhead_bytes_max);
    let announced = body.announced();
    if announced.is_some_and(|announced| announced > body_max) {
        return Err(Refusal::FileTooLarge {
            limit,
            actual: announced,
        });
    }
    let expected = announced.unwrap_or(limit).min(limit);
    body.expect(limit);
    let place = Arc::new(Place::new(room, user));
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(body_max));
    let body = Arc::new(Mutex::new(body));
    let taken = Arc::new(AtomicU64::new(0));
    let pieces = placed(Arc::clone(&body), Arc::clone(&place), expected);
    let pieces = bounded(pieces, Arc::clone(&taken), config.form_overhead_bytes_max);
    let multipart = Multipart::with_constraints(pieces, boundary, constraints);
    let reading = async {
        let (bytes, crop) = parts(multipart, announced.map(|_| expected), &taken, config).await?;
        rest(&body, length(&bytes), config.form_overhead_bytes_max).await?;
        Ok((bytes, crop))
    };
    let (bytes, crop) = tokio::select! {
        read = reading => read?,
        // Dropped half-read, what still comes of the body is dropped, too.
        refusal = place.put_out() => return Err(refusal),
    };
    place.arrived()?;
    // Small ones count from here on: they may wait for a worker.
    place.take(length(&bytes)).await?;
    let held = Held {
        bytes,
        _place: place,
    };
    Ok(Form {
        image: Bytes::from_owner(held),
        crop,
    })
}

/// Reads to the end of the message: the parser stops behind the last boundary, and nothing counts before it is complete.
async fn rest(body: &Mutex<Body>, file_bytes: u64, beside_max: u64) -> Result<(), Refusal> {
    let mut body = body.lock().await;
    loop {
        let beside = body.received().saturating_sub(file_bytes);
        if beside > beside_max {
            return Err(Refusal::MultipartTooLarge {
                sentence: format!("{beside} bytes beside the file, the limit is {beside_max}"),
                limit: beside_max,
                actual: Some(beside),
            });
        }
        if body.next().await.transpose()?.is_none() {
            return Ok(());
        }
    }
}

/// The body as it comes. When more of it has come than is uncounted, the next piece waits until there is room for
/// `expected` bytes. Meanwhile nothing is read, and that time is not the client's fault.
fn placed(
    body: Arc<Mutex<Body>>,
    place: Arc<Place>,
    expected: u64,
) -> impl Stream<Item = Result<Bytes, Refusal>> + Send + 'static {
    let mut received = 0_u64;
    body::stream(Arc::clone(&body)).then(move |piece| {
        let come = piece.as_ref().map_or(0, |piece| length(piece));
        received = received.saturating_add(come);
        place.come(come);
        let is_due = received > UNCOUNTED_BYTES_MAX && !place.is_taken();
        let (body, place) = (Arc::clone(&body), Arc::clone(&place));
        async move {
            if is_due {
                let begin = Instant::now();
                place.take(expected).await?;
                body.lock().await.forgive(begin.elapsed());
            }
            piece
        }
    })
}

/// Ends the stream once far more came than what is `taken` as the file: the parser takes preambles and part heads of any
/// size, and looks at them anew with each piece.
fn bounded(
    pieces: impl Stream<Item = Result<Bytes, Refusal>> + Send + 'static,
    taken: Arc<AtomicU64>,
    beside_max: u64,
) -> impl Stream<Item = Result<Bytes, Refusal>> + Send + 'static {
    let mut received = 0_u64;
    pieces.map(move |piece| {
        let piece = piece?;
        received = received.saturating_add(length(&piece));
        let beside = received.saturating_sub(taken.load(Ordering::Relaxed));
        if beside > beside_max.saturating_add(UNDERWAY_BYTES_MAX) {
            return Err(too_much_beside(beside_max));
        }
        Ok(piece)
    })
}

/// What separates the parts. Taken as clients write it, with or without quotes around what would need them.
pub(super) fn boundary(headers: &HeaderMap) -> Result<String, Refusal> {
    let parameters = disposition::parameters(content_type(headers).as_bytes());
    let mut boundaries = parameters.filter(|(name, _)| name == b"boundary");
    let boundary = boundaries.next().map(|(_, value)| value);
    let is_single = boundaries.next().is_none();
    let boundary = boundary.and_then(|boundary| String::from_utf8(boundary).ok());
    let boundary = boundary.unwrap_or_default();
    // Visible characters, and spaces but for the last one: what Django takes.
    let is_text = boundary.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let found = if boundary.is_empty() {
        "None"
    } else if !is_single {
        "more than one"
    } else if !is_text || boundary.ends_with(' ') {
        "not a text"
    } else if boundary.len() > BOUNDARY_CHARS_MAX {
        return Err(boundary_too_long(boundary.len()));
    } else {
        return Ok(boundary);
    };
    let sentence = format!("Invalid boundary in multipart: {found}");
    Err(Refusal::Multipart(sentence))
}

fn boundary_too_long(actual: usize) -> Refusal {
    let limit = BOUNDARY_CHARS_MAX;
    Refusal::MultipartTooLarge {
        sentence: format!(
            "Invalid boundary in multipart: it has {actual} characters, the limit is {limit}"
        ),
        limit: count(limit),
        actual: Some(count(actual)),
    }
}

/// Refuses a form of more parts. How many it has nobody knows: no more is read.
pub(super) fn too_many_parts(limit: usize) -> Refusal {
    Refusal::MultipartTooLarge {
        sentence: format!("More than {limit} parts"),
        limit: count(limit),
        actual: None,
    }
}

async fn parts(
    mut multipart: Multipart<'static>,
    announced: Option<u64>,
    taken: &AtomicU64,
    config: &config::Http,
) -> Result<(Vec<u8>, Option<Crop>), Refusal> {
    let mut image = None;
    let mut crop = None;
    let mut number = 0_usize;
    let beside = config.form_overhead_bytes_max;
    while let Some(field) = multipart
        .next_field()
        .await
        .map_err(|error| refused(error, || too_much_beside(beside)))?
    {
        number = number.saturating_add(1);
        if number > config.form_parts_max {
            return Err(too_many_parts(config.form_parts_max));
        }
        let disposition = field.headers().get(CONTENT_DISPOSITION);
        let disposition = disposition.map_or_else(Disposition::default, |value| {
            Disposition::parse(value.as_bytes())
        });
        match (disposition.name.as_str(), disposition.kind) {
            ("image", Kind::Text) => return Err(Refusal::NotAFile),
            ("image", Kind::NoFile) => {}
            ("image", Kind::File) if image.is_some() => return Err(Refusal::TwoFiles),
            ("image", Kind::File) => {
                image = Some(file(field, announced, taken, config.upload_bytes_max).await?);
            }
            ("crop", _) => {
                let text = content(field, 0, &AtomicU64::default(), beside, || {
                    too_much_beside(beside)
                })
                .await?;
                let text = str::from_utf8(&text).map_err(|_| Refusal::Crop(InvalidCrop))?;
                crop = Some(text.trim())
                    .filter(|text| !text.is_empty())
                    .map(str::parse)
                    .transpose()
                    .map_err(Refusal::Crop)?;
            }
            // Fields that a client's other server wanted: ignored, within the bounds on the whole form.
            _ => {
                content(field, 0, &AtomicU64::default(), beside, || {
                    too_much_beside(beside)
                })
                .await?;
            }
        }
    }
    Ok((image.ok_or(Refusal::NoFile)?, crop))
}

/// The file, at most `bytes_max` bytes, into memory that is taken once if the length of the body is known.
async fn file(
    field: Field<'static>,
    announced: Option<u64>,
    taken: &AtomicU64,
    bytes_max: u64,
) -> Result<Vec<u8>, Refusal> {
    let capacity = announced.map_or(0, |announced| usize::try_from(announced).unwrap_or(0));
    let too_large = || Refusal::FileTooLarge {
        limit: bytes_max,
        actual: None,
    };
    content(field, capacity, taken, bytes_max, too_large).await
}

/// The content of a part, at most `bytes_max` bytes, counted as `taken` while it comes. Memory for all of it is taken when
/// its room is.
async fn content(
    mut field: Field<'static>,
    capacity: usize,
    taken: &AtomicU64,
    bytes_max: u64,
    too_large: impl Fn() -> Refusal,
) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(data) = field
        .chunk()
        .await
        .map_err(|error| refused(error, &too_large))?
    {
        let come = length(&bytes).saturating_add(length(&data));
        if come > bytes_max {
            return Err(too_large());
        }
        if come > UNCOUNTED_BYTES_MAX && bytes.capacity() < capacity {
            bytes.reserve_exact(capacity.saturating_sub(bytes.len()));
        }
        bytes.extend_from_slice(&data);
        taken.fetch_add(length(&data), Ordering::Relaxed);
    }
    Ok(bytes)
}

fn too_much_beside(limit: u64) -> Refusal {
    Refusal::MultipartTooLarge {
        sentence: format!("More than {limit} bytes beside the file"),
        limit,
        actual: None,
    }
}

/// What the parser's error means for the client.
fn refused(error: multer::Error, too_large: impl Fn() -> Refusal) -> Refusal {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Refusal>() {
            Ok(refusal) => *refusal,
            Err(_) => Refusal::Incomplete,
        },
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => {
            too_large()
        }
        other => Refusal::Multipart(other.to_string()),
    }
}

fn length(bytes: &[u8]) -> u64 {
    count(bytes.len())
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
