//! Whether what a worker gave is what was asked for. It may have been taken over by its picture: every byte that is
//! stored and served later was looked at here first. Pure.

use bytes::Bytes;

use crate::config;
use crate::domain::picture::Fit;
use crate::domain::picture::Rendition;
use crate::imaging::Rendered;
use crate::imaging::plain_jpeg_dimensions;
use crate::workers::process::Outcome;
use crate::workers::protocol::{Announced, Reply};

/// Longest `ThumbHash`, in bytes. Source: its specification.
const THUMBHASH_BYTES_MAX: usize = 25;

/// The rendered picture in an answer, if each file is a JPEG of the size that is configured.
pub(super) fn rendered(outcome: Outcome, picture: &config::Picture) -> Result<Rendered, String> {
    let Reply::Rendered {
        format,
        decoder,
        width,
        height,
        thumbhash,
        mut applied,
        renditions,
    } = outcome.reply
    else {
        return Err("it is not a rendered picture".to_owned());
    };
    let (renditions, dimensions) = files(&renditions, outcome.files, picture)?;
    if dimensions.first() != Some(&(width, height)) {
        return Err(format!("its largest file is not {width} x {height}"));
    }
    if thumbhash.len() > THUMBHASH_BYTES_MAX {
        return Err(format!("its ThumbHash has {} bytes", thumbhash.len()));
    }
    applied.sort_unstable();
    applied.dedup();
    Ok(Rendered {
        format,
        decoder,
        width,
        height,
        renditions,
        thumbhash,
        applied,
    })
}

/// The placeholder in an answer, under the same conditions.
pub(super) fn placeholder(
    outcome: Outcome,
    picture: &config::Picture,
) -> Result<Vec<Rendition>, String> {
    let Reply::Placeholder(announced) = outcome.reply else {
        return Err("it is not a placeholder".to_owned());
    };
    files(&announced, outcome.files, picture).map(|(renditions, _)| renditions)
}

type Files = (Vec<Rendition>, Vec<(u16, u16)>);

fn files(
    announced: &[Announced],
    files: Vec<Vec<u8>>,
    picture: &config::Picture,
) -> Result<Files, String> {
    if !announced
        .iter()
        .map(|one| &one.size_px)
        .eq(&picture.sizes_px)
    {
        return Err("its sizes are not those that are configured".to_owned());
    }
    let mut dimensions = Vec::new();
    let mut renditions = Vec::new();
    for (&Announced { size_px, .. }, bytes) in announced.iter().zip(files) {
        let (width, height) = plain_jpeg_dimensions(&bytes).ok_or("a file is not a whole JPEG")?;
        let fits = match picture.fit {
            Fit::Cover | Fit::Pad => width == size_px && height == size_px,
            Fit::Inside => width.max(height) == size_px && width.min(height) > 0,
        };
        if !fits {
            return Err(format!(
                "a file of size {size_px} has {width} x {height} pixels"
            ));
        }
        dimensions.push((width, height));
        renditions.push(Rendition {
            size_px,
            bytes: Bytes::from(bytes),
        });
    }
    Ok((renditions, dimensions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::picture::Applied;
    use crate::domain::picture::Format;
    use crate::imaging::Decoder;
    use crate::workers::took::Took;

    /// The least that passes: SOI, a frame header, a scan header, EOI.
    fn jpeg(width: u16, height: u16, more: &[u8]) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8];
        file.extend_from_slice(more);
        file.extend_from_slice(&[0xFF, 0xC0, 0, 8, 8]);
        file.extend_from_slice(&height.to_be_bytes());
        file.extend_from_slice(&width.to_be_bytes());
        file.extend_from_slice(&[3, 0xFF, 0xDA, 0, 2, 1, 2, 3, 0xFF, 0xD9]);
        file
    }

    fn outcome(sizes: &[u16], files: Vec<Vec<u8>>) -> Outcome {
        let renditions = sizes
            .iter()
            .map(|&size_px| Announced { size_px, length: 0 })
            .collect();
        let reply = Reply::Rendered {
            format: Format::Jpeg,
            decoder: Decoder::Turbo,
            width: 512,
            height: 512,
            thumbhash: vec![0; 25],
            applied: vec![Applied::Srgb, Applied::Rotated, Applied::Srgb],
            renditions,
        };
        Outcome {
            reply,
            took: Took::default(),
            files,
        }
    }

    #[test]
    fn answer_with_the_right_files_is_taken() {
        let files = vec![jpeg(512, 512, &[]), jpeg(128, 128, &[])];

        let rendered = rendered(outcome(&[512, 128], files), &config::Picture::default()).unwrap();

        assert_eq!(rendered.applied, [Applied::Rotated, Applied::Srgb]);
        assert_eq!(rendered.renditions.len(), 2);
    }

    #[test]
    fn answer_with_other_files_is_not() {
        let exif = [0xFF, 0xE1, 0, 4, b'E', b'x'];
        let good = jpeg(128, 128, &[]);
        for (sizes, files) in [
            ([512, 64], vec![jpeg(512, 512, &[]), jpeg(64, 64, &[])]),
            ([512, 128], vec![jpeg(512, 511, &[]), good.clone()]),
            ([512, 128], vec![jpeg(512, 512, &exif), good.clone()]),
            ([512, 128], vec![b"<html>".to_vec(), good.clone()]),
            ([512, 128], vec![jpeg(512, 512, &[])[..20].to_vec(), good]),
        ] {
            assert!(
                rendered(outcome(&sizes, files), &config::Picture::default()).is_err(),
                "{sizes:?}"
            );
        }
    }
}
