//! The files of the repository, and Rust text made easy to search.

use std::path::Path;
use std::process::Command;

/// A file: its path from the root with `/`, and its text.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn sample(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// Every text file that git knows or would add.
pub(crate) fn files() -> Vec<File> {
    let git = Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output();
    let listed = match git {
        Ok(out) if out.status.success() => String::from_utf8(out.stdout).unwrap(),
        Ok(out) => panic!(
            "tidy asks git which files there are: {}",
            String::from_utf8_lossy(&out.stderr)
        ),
        Err(e) => panic!("tidy asks git which files there are: {e}"),
    };
    let mut files: Vec<File> = listed
        .split_terminator('\0')
        // What is not text, or was deleted without git's knowing, has nothing to read.
        .filter_map(|path| {
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            Some(File { path: path.to_owned(), text })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    assert!(
        files.len() > 20,
        "only {} files were found below {}",
        files.len(),
        root().display()
    );
    files
}

/// The Rust files below a folder.
pub(crate) fn rust_below(folder: &str) -> Vec<File> {
    files()
        .into_iter()
        .filter(|f| f.path.starts_with(folder) && is_rust(&f.path))
        .collect()
}

pub(crate) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|e| e == "rs")
}

/// Rust text with comments and the insides of strings blanked out; lines stay where they were.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    while i < chars.len() {
        let rest = &chars[i..];
        let end = match rest {
            ['/', '/', ..] => i + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => i + block_comment(rest),
            ['r' | 'b', ..] if !follows_word(&chars, i) && raw_string(rest).is_some() => {
                let len = raw_string(rest).unwrap_or(1);
                out.push('"');
                out.extend(rest[1..len - 1].iter().map(|c| blank(*c)));
                out.push('"');
                i += len;
                continue;
            }
            ['"', ..] => {
                let len = string(rest);
                out.push('"');
                out.extend(rest[1..len - 1].iter().map(|c| blank(*c)));
                out.push('"');
                i += len;
                continue;
            }
            ['\'', '\\', _, ..] => i + 3 + rest[3..].iter().position(|c| *c == '\'').map_or(0, |p| p + 1),
            ['\'', _, '\'', ..] => i + 3,
            _ => {
                out.push(chars[i]);
                i += 1;
                continue;
            }
        };
        out.extend(chars[i..end].iter().map(|c| blank(*c)));
        i = end;
    }
    out
}

fn follows_word(chars: &[char], i: usize) -> bool {
    i > 0 && is_word(chars[i - 1])
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < rest.len() {
        match &rest[i..] {
            ['/', '*', ..] => (depth, i) = (depth + 1, i + 2),
            ['*', '/', ..] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    rest.len()
}

/// The length of a string that starts here, with its quotes.
fn string(rest: &[char]) -> usize {
    let mut i = 1;
    while i < rest.len() {
        match rest[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    rest.len()
}

/// The length of a raw string (`r"`, `r#"`, `br#"`) that starts here.
fn raw_string(rest: &[char]) -> Option<usize> {
    let start = usize::from(rest.first() == Some(&'b'));
    if rest.get(start) != Some(&'r') {
        return None;
    }
    let hashes = rest[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let closes = |i: usize| rest[i] == '"' && rest[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (open + 1..rest.len()).find(|i| closes(*i)).map(|i| i + 1 + hashes)
}

/// Removes every item behind a `#[cfg(test)]` or `#[cfg(any(test, ..))]` from text that [`code`] made.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = test_attribute(&out) {
        let end = item_end(&out, start);
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

fn test_attribute(code: &str) -> Option<usize> {
    ["#[cfg(test)]", "#[cfg(any(test"].iter().filter_map(|a| code.find(a)).min()
}

/// Where the item that starts at `start` (with its attributes) ends: behind its `;` or its block.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_i32;
    for (i, c) in code[start..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | '}') || depth < 0 {
            return start + i + 1;
        }
    }
    code.len()
}

/// The modules (as files below the same folder) that a file declares for tests only.
pub(crate) fn test_modules(code: &str) -> Vec<String> {
    let mut rest = code;
    let mut names = Vec::new();
    while let Some(start) = test_attribute(rest) {
        let end = item_end(rest, start);
        let item = &rest[start..end];
        if let Some(name) = item.rsplit_once("mod ").and_then(|(_, name)| name.strip_suffix(';')) {
            names.push(name.trim().to_owned());
        }
        rest = &rest[end..];
    }
    names
}

/// The line of a place in a text, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = "a /* x /* y */ z */ b // c\n\"d \\\" e\" 'f' '\\'' r#\"g \" h\"# br\"i\" &'life j";
    let code = code(text);
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words[..2], ["a", "b"]);
    assert!(code.contains("&'life j"), "{code}");
    assert!(!code.contains(['c', 'd', 'g', 'h']), "{code}");
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn tests_are_cut_out() {
    let code = "use a;\n#[cfg(test)]\nmod tests { fn f() { [1; 2]; } }\nuse b;\n#[cfg(test)]\nmod more;\n#[cfg(any(test, feature = \"\"))] pub mod kit;\nfn c() {}";
    let left = without_tests(code);
    assert_eq!(
        left.split_whitespace().collect::<Vec<_>>(),
        ["use", "a;", "use", "b;", "fn", "c()", "{}"]
    );
    assert_eq!(test_modules(code), ["more", "kit"]);
}
