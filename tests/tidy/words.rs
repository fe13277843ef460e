//! Words that no file may contain: unfinished work, skipped tests, and places on somebody's own machine.

use crate::no_complaints;
use crate::source::{File, code, files, is_rust, is_word, line_of};

/// In Rust, outside comments and strings.
const UNFINISHED_RUST: &[&str] = &["todo!", "unimplemented!", "#[ignore", "dbg!"];
/// In the other languages, anywhere. Written in two halves, so that this file is not found.
const UNFINISHED_ELSEWHERE: &[&str] = &[
    concat!("raise NotImplemented", "Error"),
    concat!("pytest.mark.", "skip"),
    concat!("pytest.", "skip("),
    concat!("test.", "skip("),
    concat!("it.", "skip("),
    concat!("describe.", "skip("),
    concat!("test.", "only("),
    concat!("it.", "only("),
];
/// Paths and hosts that exist on one machine or in one network only.
const PRIVATE: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("C:\\Us", "ers"),
    concat!(".int", "ranet/"),
    concat!(".co", "rp/"),
    concat!(".l", "an/"),
];

fn unfinished(files: &[File]) -> Vec<String> {
    let mut said = Vec::new();
    for file in files {
        let (text, words) = if is_rust(&file.path) {
            (code(&file.text), UNFINISHED_RUST)
        } else if [".py", ".ts", ".js", ".mjs", ".tsx"]
            .iter()
            .any(|end| file.path.ends_with(end))
        {
            (file.text.clone(), UNFINISHED_ELSEWHERE)
        } else {
            continue;
        };
        // `pytest.skip(` ends like `test.skip(`: a word starts where a word starts.
        let found = words.iter().flat_map(|word| text.match_indices(word));
        for (at, word) in found.filter(|(at, _)| !text[..*at].ends_with(is_word)) {
            said.push(format!(
                "{}:{}: `{word}`: finish it or take it out; nothing is left for later in silence",
                file.path,
                line_of(&text, at)
            ));
        }
    }
    said
}

fn private_places(files: &[File]) -> Vec<String> {
    let mut said = Vec::new();
    for file in files {
        for (at, word) in PRIVATE.iter().flat_map(|word| file.text.match_indices(word)) {
            // `https://host/home/x` and `a/work/b` are no absolute paths.
            let inside =
                word.starts_with('/') && file.text[..at].ends_with(|c: char| c.is_alphanumeric() || "._-*})".contains(c));
            if !inside {
                said.push(format!(
                    "{}:{}: `{word}` is a place on one machine; use a relative path, an argument or a temporary folder",
                    file.path,
                    line_of(&file.text, at)
                ));
            }
        }
    }
    said
}

/// Every source in a lock file is the language's public registry.
fn lock_sources(files: &[File]) -> Vec<String> {
    let mut said = Vec::new();
    for file in files {
        let (key, public) = match file.path.rsplit('/').next() {
            Some("Cargo.lock") => ("source = \"", "registry+https://github.com/rust-lang/crates.io-index\""),
            Some("package-lock.json") => ("\"resolved\": \"", "https://registry.npmjs.org/"),
            _ => continue,
        };
        for (at, _) in file.text.match_indices(key) {
            let source = &file.text[at + key.len()..];
            if !source.starts_with(public) {
                let source = source.split('"').next().unwrap_or_default();
                said.push(format!(
                    "{}:{}: comes from {source}, not from the public registry",
                    file.path,
                    line_of(&file.text, at)
                ));
            }
        }
    }
    said
}

#[test]
fn nothing_is_unfinished_or_skipped() {
    no_complaints(&unfinished(&files()));
}

#[test]
fn nothing_names_a_private_place() {
    no_complaints(&private_places(&files()));
}

#[test]
fn lock_files_name_public_registries_only() {
    no_complaints(&lock_sources(&files()));
}

#[test]
fn the_word_checks_find_what_they_look_for() {
    let n = |path: &str, text: &str| unfinished(&[File::sample(path, text)]).len();
    assert_eq!(n("a.rs", "fn f() { todo!() }\n#[ignore = \"slow\"]\nfn g() {}"), 2);
    assert_eq!(n("a.rs", "// todo!\nconst A: &str = \"#[ignore]\";"), 0);
    for word in UNFINISHED_ELSEWHERE {
        assert_eq!(n("a.py", word), 1);
        assert_eq!(n("a.md", word), 0);
    }

    let n = |text: &str| private_places(&[File::sample("a.toml", text)]).len();
    for word in PRIVATE {
        assert_eq!(n(&format!("path = \"{word}x\"")), 1, "{word}");
    }
    assert_eq!(n(concat!("https://example.com/ho", "me/ target/wo", "rk/")), 0);

    let n = |path: &str, text: &str| lock_sources(&[File::sample(path, text)]).len();
    assert_eq!(
        n(
            "Cargo.lock",
            "source = \"registry+https://github.com/rust-lang/crates.io-index\""
        ),
        0
    );
    assert_eq!(n("Cargo.lock", "source = \"git+https://example.com/x\""), 1);
    assert_eq!(n("x/package-lock.json", "\"resolved\": \"http://127.0.0.1/x.tgz\""), 1);
}
