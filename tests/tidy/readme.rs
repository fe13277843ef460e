//! README tells the truth: its paths, make targets and examples exist, and its Rust is compiled (as a doc test of
//! the facade). What is not there yet says "coming" on its line, and must stop saying so once it is there.

use crate::no_complaints;
use crate::source::{exists, read};

/// What a line of README refers to.
#[derive(Debug, PartialEq)]
enum Mention {
    Path(String),
    Make(String),
    Example(String),
}

fn mentions(line: &str, in_block: bool) -> Vec<Mention> {
    let mut found = Vec::new();
    let inline = line.split('`').skip(1).step_by(2);
    let shell = if in_block { vec![line] } else { inline.collect() };
    for text in shell {
        let text = text.split(" #").next().unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        for pair in words.windows(2) {
            match pair {
                ["make", target] => found.push(Mention::Make((*target).to_owned())),
                ["--example", name] => found.push(Mention::Example((*name).to_owned())),
                _ => {}
            }
        }
        found.extend(words.into_iter().filter(|w| is_path(w)).map(|w| Mention::Path(w.to_owned())));
    }
    let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    found.extend(
        links
            .filter(|l| !l.is_empty() && !l.contains("://") && !l.starts_with("mailto:"))
            .map(|l| Mention::Path(l.to_owned())),
    );
    found
}

/// A word that can only be a file or folder of ours.
fn is_path(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_alphanumeric() || "._-/".contains(c));
    let ends = ["/", ".rs", ".md", ".json", ".toml", ".sh", ".py", ".ts", ".svg"]
        .iter()
        .any(|end| word.len() > end.len() && word.ends_with(end));
    plain && ends && !word.starts_with(['/', '.'])
}

fn wrong(readme: &str, there: &dyn Fn(&Mention) -> bool) -> Vec<String> {
    let mut said = Vec::new();
    let mut block: Option<&str> = None;
    let mut before = "";
    for (i, line) in readme.lines().enumerate() {
        let (n, coming) = (i + 1, line.contains("coming"));
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language.trim()) };
            if language.contains("ignore") && !before.contains("coming") {
                said.push(format!(
                    "README.md:{n}: Rust that is not compiled; let it compile or say above it that it is coming"
                ));
            }
            continue;
        }
        if !line.trim().is_empty() {
            before = line;
        }
        // In a block only shell speaks of files and commands.
        if block.is_some_and(|language| !matches!(language, "sh" | "console" | "")) {
            continue;
        }
        let mentions = mentions(line, block.is_some());
        let missing: Vec<&Mention> = mentions.iter().filter(|m| !there(m)).collect();
        if coming && !mentions.is_empty() && missing.is_empty() {
            said.push(format!(
                "README.md:{n}: says \"coming\", but {mentions:?} is here; say what it does instead"
            ));
        }
        if !coming {
            said.extend(
                missing
                    .iter()
                    .map(|m| format!("README.md:{n}: {m:?} does not exist; write it, or say that it is coming")),
            );
        }
    }
    said
}

fn is_here(mention: &Mention, makefile: &str) -> bool {
    match mention {
        Mention::Path(path) => exists(path),
        Mention::Make(target) => makefile.lines().any(|line| line.starts_with(&format!("{target}:"))),
        Mention::Example(name) => exists(&format!("examples/{name}.rs")) || exists(&format!("examples/{name}/main.rs")),
    }
}

#[test]
fn what_readme_mentions_exists() {
    let (readme, makefile) = (read("README.md"), read("Makefile"));
    assert!(readme.contains("```sh"), "README shows its commands in blocks marked `sh`");
    no_complaints(&wrong(&readme, &|m| is_here(m, &makefile)));
}

#[test]
fn readme_is_compiled_with_the_facade() {
    assert!(
        read("src/lib.rs").contains("include_str!(\"../README.md\")"),
        "src/lib.rs takes README.md in as a doc test, so that its Rust compiles"
    );
}

#[test]
fn the_readme_check_finds_what_is_missing() {
    let there = |m: &Mention| matches!(m, Mention::Path(p) if p == "docs/a.md") || *m == Mention::Make("test".into());
    let n = |text: &str| wrong(text, &there).len();
    assert_eq!(
        n("See [a](docs/a.md#part), [b](https://example.com/b.md) and `docs/a.md`; run `make test`."),
        0
    );
    assert_eq!(n("See [b](docs/b.md)."), 1);
    assert_eq!(n("See `docs/b.md`; the module `levqor/next` is no path."), 1);
    assert_eq!(
        n("```sh\nmake test  # or make nothing\nmake soak\ncargo run --example x\n```"),
        2
    );
    assert_eq!(n("```sh\nmake soak # coming\n```"), 0);
    assert_eq!(n("`make test` is coming"), 1);
    assert_eq!(n("```json\nmake soak\n```"), 0);
    assert_eq!(n("Rust:\n\n```rust,ignore\nx\n```"), 1);
    assert_eq!(n("Rust (coming):\n\n```rust,ignore\nx\n```"), 0);
}
