//! Runs the renderer on files, one job a line on standard input, and answers each with one line on standard output.
//! `tests/bench/compare` drives it in turn with other software and measures all from outside.
//!
//! - `load FILE`: reads an upload; the jobs after it are about this one.
//! - `render`: both renditions. Answer: their sizes in bytes.
//! - `hevc NAME`: who decodes HEIC from now on, as the key `picture.hevc_decoder` says it. Answer: 1, or 0 if this build does
//!   not have that one.
//! - `pixels FILE`: writes red, green and blue of the largest rendition before it is encoded. Answer: width and height.

#![expect(
    clippy::print_stdout,
    reason = "the answers are what this program is for"
)]

use std::error::Error;
use std::fs;
use std::io;

use pockitd::config;
use pockitd::config::HevcDecoder;
use pockitd::imaging::Renderer;

fn main() -> Result<(), Box<dyn Error>> {
    let mut renderer = Renderer::new(config::Picture::default());
    let mut upload = Vec::new();
    for line in io::stdin().lines() {
        let line = line?;
        let (job, file) = line.split_once(' ').unwrap_or((&line, ""));
        match job {
            "load" => {
                upload = fs::read(file)?;
                println!("{}", upload.len());
            }
            "render" => {
                let answer = renderer.render(&upload, None)?;
                let sizes = answer.renditions.iter();
                let sizes: Vec<_> = sizes.map(|size| size.bytes.len().to_string()).collect();
                println!("{}", sizes.join(" "));
            }
            "hevc" => {
                let hevc_decoder = match file {
                    "libde265" => HevcDecoder::Libde265,
                    "libavcodec" => HevcDecoder::Libavcodec,
                    _ => HevcDecoder::Auto,
                };
                renderer = Renderer::new(config::Picture {
                    hevc_decoder,
                    ..config::Picture::default()
                });
                let is_there =
                    hevc_decoder != HevcDecoder::Libavcodec || cfg!(feature = "libavcodec");
                println!("{}", u8::from(is_there));
            }
            "pixels" => {
                let picture = renderer.unencoded(&upload)?;
                fs::write(file, &picture.rgb)?;
                println!("{} {}", picture.width, picture.height);
            }
            // `cargo bench` passes no jobs but an end of input.
            _ => return Err(format!("no such job: {line}").into()),
        }
    }
    Ok(())
}
