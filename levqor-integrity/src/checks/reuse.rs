//! `secrets.reuse`: no secret serves two purposes, in the environment and in files that the pack names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use url::Url;

use super::Basics;
use crate::check::{Check, CheckCx};
use crate::outcome::{Finding, Outcome};
use crate::pack::{Reader, unusable};

pub(super) struct Reuse {
    id: String,
    files: Vec<PathBuf>,
    same: Vec<Vec<String>>,
}

/// Shorter texts are equal by chance.
const SHORTEST: usize = 8;

impl Reuse {
    pub(super) fn new(id: String, r: &Reader<'_>, basics: &Basics<'_>) -> Self {
        let same = r.raw("same").and_then(|v| v.as_array().cloned()).unwrap_or_default();
        let group = |v: &serde_json::Value| -> Option<Vec<String>> {
            v.as_array()?.iter().map(|n| n.as_str().map(str::to_owned)).collect()
        };
        let groups: Vec<Vec<String>> = same.iter().filter_map(group).collect();
        if groups.len() != same.len() {
            r.fault(
                "same",
                "pack.wrong_type",
                "`same` is a list of lists of variables that are meant to be equal",
            );
        }
        Reuse {
            id,
            files: r
                .texts("files")
                .unwrap_or_default()
                .iter()
                .map(|f| basics.folder.join(f))
                .collect(),
            same: groups,
        }
    }

    fn meant(&self, a: &str, b: &str) -> bool {
        self.same.iter().any(|g| g.iter().any(|n| n == a) && g.iter().any(|n| n == b))
    }
}

/// The secret of a value: of an address its password, else the whole.
fn core(value: &str) -> String {
    let password = Url::parse(value).ok().and_then(|u| u.password().map(str::to_owned));
    password.unwrap_or_else(|| value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The assignments of a `.env` file.
fn assignments(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("export ");
        let (name, value) = line.split_once('=')?;
        (!line.starts_with('#')).then(|| (name.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
    })
}

#[async_trait]
impl Check for Reuse {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut secrets = 0;
        for (name, value) in cx.env().secrets() {
            let secret = core(value);
            if secret.len() >= SHORTEST {
                secrets += 1;
                holders.entry(secret).or_default().push(name.to_owned());
            }
        }
        let mut outcome = Outcome::default();
        for path in &self.files {
            let shown = path.display().to_string();
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(e) => {
                    outcome.add(unusable(&shown, &e.to_string()));
                    continue;
                }
            };
            for (name, value) in assignments(&text) {
                // The file may be where the variable comes from; another name in it is another purpose.
                if let Some(names) = holders.get_mut(&core(&value))
                    && !names.contains(&name)
                {
                    names.push(format!("{name} in {shown}"));
                }
            }
        }
        for names in holders.values() {
            let first = &names[0];
            let others: Vec<&str> = names[1..]
                .iter()
                .filter(|n| !self.meant(first, n))
                .map(String::as_str)
                .collect();
            if !others.is_empty() {
                outcome.add(
                    Finding::fail(
                        "secrets.reused",
                        format!("{first} holds the same secret as {}", others.join(" and ")),
                    )
                    .expected("a secret for each purpose")
                    .actual(format!("one secret under {} names", others.len() + 1))
                    .at(first.as_str())
                    .hint("make new ones; if two names are meant to hold the same, say so with `same`"),
                );
            }
        }
        outcome.fact("secrets", secrets);
        outcome.summary = format!("{secrets} secrets, each used once");
        outcome
    }
}
