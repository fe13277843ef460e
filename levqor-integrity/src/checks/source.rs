//! `source.ratchet`: patterns that have led to faults become fewer, never more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::Basics;
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Reader, unusable};

pub(super) struct Ratchet {
    id: String,
    root: Option<PathBuf>,
    patterns: Vec<Pattern>,
    skip: Vec<String>,
}

/// A text that is looked for in lines, and how often it may stand there.
#[derive(Clone, Debug)]
struct Pattern {
    name: String,
    text: String,
    /// Ends of file names.
    files: Vec<String>,
    max: Option<usize>,
}

/// Folders of other people's code.
const FOREIGN: &[&str] = &[
    ".git",
    "node_modules",
    "target",
    "venv",
    ".venv",
    "__pycache__",
    "dist",
    "build",
    ".next",
    "vendor",
    "site-packages",
];
/// A larger file is no source.
const LARGEST: u64 = 1 << 20;
/// And more files than that are not looked at.
const MOST_FILES: usize = 50_000;

impl Ratchet {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let mut patterns: Vec<Pattern> = r
            .tables("patterns")
            .into_iter()
            .map(|(name, p)| {
                let text = p.text("text").unwrap_or_default();
                if text.is_empty() {
                    p.fault("text", "pack.missing", "a pattern has to have a `text`");
                }
                let pattern = Pattern {
                    name,
                    text,
                    files: p.texts("files").unwrap_or_default(),
                    max: p
                        .raw("max")
                        .is_some()
                        .then(|| usize::try_from(p.int_or("max", 0..=1_000_000, 0)).unwrap_or(0)),
                };
                p.finish();
                pattern
            })
            .collect();
        if patterns.is_empty() {
            let common = [
                ("bare_except", "except:", &[".py"][..]),
                ("tls_not_verified", "verify=False", &[".py"]),
                ("debug_server", "debug=True", &[".py"]),
                (
                    "reject_unauthorized_off",
                    "rejectUnauthorized: false",
                    &[".js", ".ts", ".mjs", ".tsx"],
                ),
                ("empty_catch", "catch (e) {}", &[".js", ".ts", ".mjs", ".tsx"]),
            ];
            patterns = common
                .iter()
                .map(|(name, text, files)| Pattern {
                    name: (*name).into(),
                    text: (*text).into(),
                    files: files.iter().map(|f| (*f).to_owned()).collect(),
                    max: None,
                })
                .collect();
        }
        Ratchet {
            id,
            root: r.text("root").map(|root| basics.folder.join(root)),
            patterns,
            skip: r.texts("skip").unwrap_or_default(),
        }
    }
}

/// The places of each pattern.
type Found = BTreeMap<String, Vec<String>>;

fn walk(root: &Path, patterns: &[Pattern], skip: &[String]) -> std::io::Result<(Found, usize)> {
    let mut found: Found = patterns.iter().map(|p| (p.name.clone(), Vec::new())).collect();
    let mut open = vec![root.to_owned()];
    let mut files = 0;
    while let Some(folder) = open.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&folder)?.collect::<std::io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            if skip.iter().any(|s| shown.starts_with(s.as_str())) {
                continue;
            }
            // What a link leads to is looked at where it is, if at all.
            let kind = entry.file_type()?;
            if kind.is_dir() && !FOREIGN.contains(&name.as_str()) {
                open.push(path);
            } else if kind.is_file() && files < MOST_FILES {
                let wanted: Vec<&Pattern> = patterns
                    .iter()
                    .filter(|p| p.files.is_empty() || p.files.iter().any(|end| name.ends_with(end.as_str())))
                    .collect();
                if wanted.is_empty() || entry.metadata()?.len() > LARGEST {
                    continue;
                }
                files += 1;
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                for (i, line) in text.lines().enumerate() {
                    for pattern in wanted.iter().filter(|p| line.contains(p.text.as_str())) {
                        if let Some(list) = found.get_mut(&pattern.name) {
                            list.push(format!("{shown}:{}", i + 1));
                        }
                    }
                }
            }
        }
    }
    Ok((found, files))
}

#[async_trait]
impl Check for Ratchet {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let Some(root) = self.root.clone() else {
            return Outcome::skip("the pack names no `root`, the folder of the sources");
        };
        let shown = root.display().to_string();
        let (patterns, skip) = (self.patterns.clone(), self.skip.clone());
        let walked = tokio::task::spawn_blocking(move || walk(&root, &patterns, &skip)).await;
        let (found, files) = match walked {
            Ok(Ok(found)) => found,
            Ok(Err(e)) => return unusable(&shown, &e.to_string()).into(),
            Err(e) => return unusable(&shown, &e.to_string()).into(),
        };
        if files == 0 {
            return Finding::error("source.no_files", "there is no file to look at")
                .expected("sources of the kinds that the patterns are for")
                .actual("none")
                .at(shown)
                .hint("is `root` the right folder?")
                .into();
        }
        let mut outcome = Outcome::new(format!("{files} files, no pattern grew"));
        for pattern in &self.patterns {
            let places = &found[&pattern.name];
            let before = cx
                .previous()
                .and_then(|f| f.get(&pattern.name)?.as_u64())
                .and_then(|n| usize::try_from(n).ok());
            // What the pack allows, or what there was; without either, this run sets the mark.
            let limit = match (pattern.max, before) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            outcome.fact(&pattern.name, places.len());
            if let Some(limit) = limit.filter(|l| places.len() > *l) {
                outcome.add(
                    Finding::fail(
                        "source.grew",
                        format!("`{}` stands {} times in the sources", pattern.text, places.len()),
                    )
                    .expected(format!("at most {limit}"))
                    .actual(places.len().to_string())
                    .at(places.iter().take(5).cloned().collect::<Vec<_>>().join(", "))
                    .hint(format!("take the new ones out ({})", pattern.name)),
                );
            }
        }
        outcome.fact("files", files);
        outcome
    }
}
