//! The corpus of strange, broken and hostile files, where it is present: each gets the answer that its manifest asks
//! for, in time, and the server lives on. The same judgement as the corpus's own `judge.py`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::fixtures::{colors, read, repository};
use crate::support::jpeg::{Pixels, assert_clean, difference};
use crate::support::{Form, PICTURE, Request, Server, fixture};

/// Longest time for one answer. Generous: tests run side by side and unoptimised.
const DEADLINE: Duration = Duration::from_secs(30);
/// Largest difference of a channel on means of a ninth of a picture; `judge.py --tol`.
const TOLERANCE: u8 = 28;

/// Files that are known to get another answer than the manifest's, and why that is right or bearable.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// A row of the manifest, by the names of its columns.
type Row = HashMap<String, String>;

fn manifest(folder: &std::path::Path) -> Vec<Row> {
    let table = String::from_utf8(read(&folder.join("MANIFEST.tsv"))).unwrap();
    let mut lines = table.lines();
    let names: Vec<_> = lines.next().unwrap().split('\t').collect();
    let row = |line: &str| {
        let cells = names.iter().zip(line.split('\t'));
        cells
            .map(|(name, cell)| ((*name).to_owned(), cell.to_owned()))
            .collect()
    };
    lines.map(row).collect()
}

/// Whether a status is one of those that the row allows.
fn fits(row: &Row, status: u16) -> bool {
    let wanted = row["status"].split('|').any(|wanted| match wanted {
        "2xx" => (200..300).contains(&status),
        "4xx" => (400..500).contains(&status),
        exact => exact == status.to_string(),
    });
    wanted || row["expected"] == "reject" && (400..500).contains(&status)
}

/// What is wrong with a rendition; nothing if all is right.
fn rendition_faults(row: &Row, bytes: &[u8]) -> Vec<String> {
    assert_clean(bytes, &row["file"]);
    let picture = Pixels::decode(bytes);
    let mut faults = Vec::new();
    if let Some((width, height)) = row["displayed"].split_once('x') {
        let (width, height): (usize, usize) = (width.parse().unwrap(), height.parse().unwrap());
        let across = picture.width * height;
        let off = across.abs_diff(picture.height * width) as f64;
        let allowed = width.max(height) as f64 * 1.5 + 0.02 * (picture.width * height) as f64;
        if off > allowed && width.min(height) >= 16 {
            let found = (picture.width, picture.height);
            faults.push(format!("is {found:?}, displayed {width}x{height}"));
        }
    }
    if !row["grid3x3"].is_empty() {
        let off = difference(&picture.grid(3), &colors(&row["grid3x3"]));
        if off > TOLERANCE {
            faults.push(format!("colours are off by {off}"));
        }
    }
    faults
}

#[test]
fn every_file_of_the_corpus_gets_its_answer() {
    let folder: PathBuf = repository().join("../shared/corpus");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let server = Server::with(&[
        ("rate_limit.uploads_per_hour", "0"),
        ("picture.fit", "\"inside\""),
    ]);
    // An hour's token: the corpus outlives the default.
    let user = server.user();
    let mut claims = crate::support::token::access_claims(&user.id);
    claims["exp"] = (crate::support::token::now() + 3_600).into();
    let token = crate::support::token::signed(&claims);
    let mut faults = Vec::new();
    for row in manifest(&folder) {
        let file = &row["file"];
        let form = Form::image(&read(&folder.join(file)));
        let request = Request::post(PICTURE).bearer(&token).form(&form);
        let start = Instant::now();
        let mut found = Vec::new();
        match request.try_send(server.address()) {
            Err(lost) => found.push(format!("no answer: {lost:?}")),
            Ok(reply) => {
                if !fits(&row, reply.status) {
                    let (status, text) = reply.told();
                    found.push(format!("{status} {text}, wanted {}", row["status"]));
                } else if reply.status == 200 {
                    let (bytes, _) = server.pictures(&reply.json());
                    found = rendition_faults(&row, &bytes);
                } else if reply.body.is_empty() {
                    found.push("an empty refusal".to_owned());
                }
            }
        }
        if start.elapsed() > DEADLINE {
            found.push(format!("took {:?}", start.elapsed()));
        }
        let known = EXCEPTIONS.iter().any(|(known, _)| known == file);
        if !found.is_empty() && !known {
            faults.push(format!("{file}: {} ({})", found.join("; "), row["why"]));
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
    let last = Request::post(PICTURE)
        .bearer(&token)
        .form(&Form::image(&fixture("rgb.png")));
    server.send(&last).expect(200);
}
