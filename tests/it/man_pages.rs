//! The man pages in `man/` say what the command line says. `UPDATE_GOLDEN=1 cargo test man_pages` writes them anew.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// What every page leads to.
const SEE_ALSO: [&str; 2] = ["pockit.toml(5)", "pockitd(1)"];

/// Pages that lead further.
const SEE_MORE: [(&str, &str); 3] = [
    ("pockitd", "pockitd-archive(5)"),
    ("pockitd-migrate-export", "pockitd-archive(5)"),
    ("pockitd-migrate-import", "pockitd-archive(5)"),
];

#[test]
fn man_pages_say_what_the_command_line_says() {
    let mut pages = Vec::new();
    collect(pockitd::cli::command(), "pockitd", &mut pages);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut wrong = Vec::new();
    for (name, page) in &pages {
        let file = folder.join(format!("{name}.1"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, page).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != *page {
            wrong.push(format!("man/{name}.1 is not what `pockitd` says"));
        }
    }
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let made = pages.iter().any(|(name, _)| format!("{name}.1") == file);
        if file.ends_with(".1") && !made {
            wrong.push(format!("man/{file} is of no command"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nrun UPDATE_GOLDEN=1 cargo test man_pages",
        wrong.join("\n")
    );
}

#[test]
fn every_command_has_an_example() {
    let mut pages = Vec::new();
    collect(pockitd::cli::command(), "pockitd", &mut pages);
    assert!(pages.len() > 20, "{}", pages.len());
    for (name, page) in pages {
        let (_, examples) = page.split_once(".SH EXAMPLES\n").expect(&name);
        assert!(examples.contains("pockitd"), "{name}");
    }
}

fn collect(command: clap::Command, name: &str, pages: &mut Vec<(String, String)>) {
    // The version changes with every release; the pages do not.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let mut command = command.version(None::<&str>).name(title);
    command.build();
    let shown = |inner: &&clap::Command| inner.get_name() != "help" && !inner.is_hide_set();
    for inner in command.get_subcommands().filter(shown) {
        let name = format!("{name}-{}", inner.get_name());
        collect(inner.clone(), &name, pages);
    }
    pages.push((name.to_owned(), page(&command, name)));
}

fn page(command: &clap::Command, name: &str) -> String {
    let man = clap_mangen::Man::new(command.clone()).date("");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap();
    writeln!(page, ".SH SYNOPSIS\n{}", escaped(usage)).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).unwrap();
    }
    let mut page = String::from_utf8(page).unwrap();
    // `help` has no page.
    if let Some(begin) = page.find(&format!(".TP\n{}\\-help(1)\n", escaped(name))) {
        let next = page[begin + 1..].find(".TP\n");
        page.replace_range(begin..next.map_or(page.len(), |next| begin + 1 + next), "");
    }
    page.push_str(&notes_and_examples(command));
    let further = SEE_MORE.iter().filter(|(of, _)| *of == name);
    let own = format!("{name}(1)");
    let see: Vec<_> = SEE_ALSO
        .into_iter()
        .filter(|other| *other != own)
        .chain(further.map(|(_, other)| *other))
        .collect();
    writeln!(page, ".SH \"SEE ALSO\"\n{}", escaped(&see.join(", "))).unwrap();
    page
}

/// What stands below the help: examples with their title and indented, and paragraphs about everything else.
fn notes_and_examples(command: &clap::Command) -> String {
    let below = command.get_after_help().map(ToString::to_string);
    let below = below.unwrap_or_default();
    let (mut notes, mut examples) = (String::new(), String::new());
    for paragraph in below.split("\n\n") {
        match paragraph.strip_prefix("Examples:\n") {
            Some(lines) => writeln!(examples, ".nf\n{}\n.fi", escaped(lines)).unwrap(),
            None if !paragraph.is_empty() => {
                writeln!(notes, ".PP\n{}", escaped(paragraph)).unwrap();
            }
            None => {}
        }
    }
    let section = |title: &str, text: &str| {
        if text.is_empty() {
            String::new()
        } else {
            format!(".SH {title}\n{text}")
        }
    };
    section("NOTES", &notes) + &section("EXAMPLES", &examples)
}

/// Text for roff: no line begins with a request, and a hyphen is one that can be copied.
fn escaped(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| {
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            if line.starts_with(['.', '\'']) {
                format!("\\&{line}")
            } else {
                line
            }
        })
        .collect();
    lines.join("\n")
}
