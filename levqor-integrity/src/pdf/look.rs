//! How a report looks: paper, colours, logo, names. From the `report` table of a pack.
//!
//! ```toml
//! [report]
//! company = "Acme Ltd"
//! title = "Integrity evidence"
//! paper = "A4"                     # or "Letter"
//! accent = "#0a6e5a"
//! logo = "logo.png"                # beside the pack
//! classification = "Confidential"
//! footer = "Acme Ltd, Registered in England 1234567"
//! fonts = ["NotoSansJP.ttf"]       # for scripts other than Latin, Greek, Cyrillic, Armenian, Georgian
//! statement = "We have reviewed this evidence and the exceptions in it."
//! prepared = {name = "Levqor", role = "System"}
//! reviewed = {name = "Ann Lee", role = "Head of engineering"}
//! approved = {role = "Chief executive"}
//!
//! [report.responses."headers.security"]
//! owner = "ann@example.com"
//! due = "2026-12-31"
//! response = "Rolled out with release 12."
//! ```

use std::collections::BTreeMap;
use std::path::{Component, Path};

use levqor_core::error::{Error, Result};
use levqor_core::pipeline::suggest::did_you_mean;
use serde_json::Value;

use super::canvas::Rgb;
use super::logo;
use super::write::Picture;

/// The size of pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paper {
    /// 210 mm by 297 mm.
    #[default]
    A4,
    /// 8.5 inches by 11 inches.
    Letter,
}

impl Paper {
    /// Width and height in points.
    pub(crate) fn size(self) -> (f32, f32) {
        match self {
            Paper::A4 => (595.28, 841.89),
            Paper::Letter => (612.0, 792.0),
        }
    }
}

/// Somebody who signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The name; empty leaves a line for it.
    pub name: String,
    /// What they are.
    pub role: String,
}

/// What the owner of a system says about an exception.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Who mends it.
    pub owner: String,
    /// Until when.
    pub due: String,
    /// What is done about it.
    pub response: String,
}

/// How a report looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Whose report it is.
    pub company: String,
    /// What it is called; empty leaves the report's own title.
    pub title: String,
    /// The size of pages.
    pub paper: Paper,
    /// Who may read it.
    pub classification: String,
    /// A line at the foot of the cover.
    pub footer: String,
    /// What management states when it signs.
    pub statement: String,
    /// Prepared, reviewed and approved by.
    pub people: [Person; 3],
    /// Answers to exceptions, by check.
    pub responses: BTreeMap<String, Response>,
    /// Fonts for further scripts, as TrueType or OpenType.
    pub fonts: Vec<Vec<u8>>,
    pub(crate) accent: Rgb,
    pub(crate) logo: Option<Picture>,
}

impl Default for Look {
    fn default() -> Self {
        let person = |name: &str, role: &str| Person {
            name: name.to_owned(),
            role: role.to_owned(),
        };
        Look {
            company: String::new(),
            title: String::new(),
            paper: Paper::A4,
            classification: "Confidential".into(),
            footer: String::new(),
            statement: "Management has reviewed this evidence, including every exception and waiver in it.".into(),
            people: [person("Levqor", "System"), person("", ""), person("", "")],
            responses: BTreeMap::new(),
            fonts: Vec::new(),
            accent: Rgb(0x1d, 0x3f, 0x72),
            logo: None,
        }
    }
}

const KEYS: &[&str] = &[
    "company",
    "title",
    "paper",
    "accent",
    "logo",
    "classification",
    "footer",
    "fonts",
    "statement",
    "prepared",
    "reviewed",
    "approved",
    "responses",
];

fn bad(at: &str, message: impl Into<String>) -> Error {
    Error::invalid("report.bad_look", message.into()).at(format!("/report/{at}"))
}

fn known(map: &serde_json::Map<String, Value>, keys: &[&str], at: &str) -> Result<()> {
    match map.keys().find(|k| !keys.contains(&k.as_str())) {
        None => Ok(()),
        Some(key) => {
            let hint = did_you_mean(key, keys.iter().copied());
            Err(bad(&format!("{at}{key}"), format!("there is no `{key}`{hint}")))
        }
    }
}

fn text(value: &Value, at: &str) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| bad(at, "this has to be a text"))
}

/// A file beside the pack: a name that leads out of its folder is refused.
fn file(folder: &Path, name: &str, at: &str) -> Result<Vec<u8>> {
    const LARGEST: u64 = 32 << 20;
    let path = Path::new(name);
    if !path
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
    {
        return Err(bad(at, format!("`{name}` does not lie beside the pack")));
    }
    let path = folder.join(path);
    let unreadable = |e: std::io::Error| bad(at, format!("`{name}` cannot be read: {e}"));
    if std::fs::metadata(&path).map_err(unreadable)?.len() > LARGEST {
        return Err(bad(at, format!("`{name}` is larger than 32 MiB")));
    }
    std::fs::read(&path).map_err(unreadable)
}

fn person(value: &Value, at: &str) -> Result<Person> {
    let map = value
        .as_object()
        .ok_or_else(|| bad(at, "this has to be a table with name and role"))?;
    known(map, &["name", "role"], &format!("{at}/"))?;
    let of = |key: &str| map.get(key).map_or(Ok(String::new()), |v| text(v, at));
    Ok(Person {
        name: of("name")?,
        role: of("role")?,
    })
}

impl Look {
    /// Reads the `report` table of a pack. Files that it names lie in `folder`.
    pub fn of(value: &Value, folder: &Path) -> Result<Self> {
        let mut look = Look::default();
        let empty = serde_json::Map::new();
        let map = match value {
            Value::Null => &empty,
            Value::Object(map) => map,
            _ => return Err(bad("", "`report` has to be a table")),
        };
        known(map, KEYS, "")?;
        for (key, value) in map {
            match key.as_str() {
                "company" => look.company = text(value, key)?,
                "title" => look.title = text(value, key)?,
                "classification" => look.classification = text(value, key)?,
                "footer" => look.footer = text(value, key)?,
                "statement" => look.statement = text(value, key)?,
                "paper" => {
                    look.paper = match text(value, key)?.to_ascii_lowercase().as_str() {
                        "a4" => Paper::A4,
                        "letter" => Paper::Letter,
                        other => return Err(bad(key, format!("`{other}` is no paper")).hint("A4 or Letter")),
                    }
                }
                "accent" => {
                    let name = text(value, key)?;
                    look.accent = Rgb::parse(&name)
                        .ok_or_else(|| bad(key, format!("`{name}` is no colour")).hint("six digits, #1d3f72"))?;
                }
                "logo" => {
                    let bytes = file(folder, &text(value, key)?, key)?;
                    look.logo = Some(logo::read(&bytes).map_err(|why| bad(key, why))?);
                }
                "fonts" => {
                    let names = value.as_array().ok_or_else(|| bad(key, "this has to be a list of files"))?;
                    look.fonts = names
                        .iter()
                        .map(|n| file(folder, &text(n, key)?, key))
                        .collect::<Result<_>>()?;
                }
                "prepared" => look.people[0] = person(value, key)?,
                "reviewed" => look.people[1] = person(value, key)?,
                "approved" => look.people[2] = person(value, key)?,
                _ => look.responses = responses(value)?,
            }
        }
        Ok(look)
    }

    /// Every text that a secret could stand in goes through this.
    #[must_use]
    pub fn masked(mut self, mask: impl Fn(&str) -> String) -> Self {
        let all = [
            &mut self.company,
            &mut self.title,
            &mut self.classification,
            &mut self.footer,
            &mut self.statement,
        ];
        let people = self.people.iter_mut().flat_map(|p| [&mut p.name, &mut p.role]);
        let responses = self
            .responses
            .values_mut()
            .flat_map(|r| [&mut r.owner, &mut r.due, &mut r.response]);
        for text in all.into_iter().chain(people).chain(responses) {
            *text = mask(text);
        }
        self
    }
}

fn responses(value: &Value) -> Result<BTreeMap<String, Response>> {
    let at = "responses";
    let map = value.as_object().ok_or_else(|| bad(at, "this has to be a table of checks"))?;
    map.iter()
        .map(|(check, value)| {
            let at = format!("{at}/{check}");
            let map = value
                .as_object()
                .ok_or_else(|| bad(&at, "this has to be a table with owner, due and response"))?;
            known(map, &["owner", "due", "response"], &format!("{at}/"))?;
            let of = |key: &str| map.get(key).map_or(Ok(String::new()), |v| text(v, &at));
            let response = Response {
                owner: of("owner")?,
                due: of("due")?,
                response: of("response")?,
            };
            Ok((check.clone(), response))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_look_is_read_and_its_faults_are_named() {
        let here = Path::new(".");
        let value = json!({
            "company": "Acme", "paper": "letter", "accent": "#0a6e5a", "reviewed": {"name": "Ann"},
            "responses": {"http.health.main": {"owner": "bob", "due": "2026-12-31"}},
        });
        let look = Look::of(&value, here).unwrap();
        assert_eq!(
            (look.company.as_str(), look.paper, look.accent),
            ("Acme", Paper::Letter, Rgb(10, 110, 90))
        );
        assert_eq!(
            (
                look.people[1].name.as_str(),
                look.responses["http.health.main"].owner.as_str()
            ),
            ("Ann", "bob")
        );
        assert_eq!(Look::of(&Value::Null, here).unwrap(), Look::default());
        for (value, at) in [
            (json!({"compny": "x"}), "/report/compny"),
            (json!({"paper": "A3"}), "/report/paper"),
            (json!({"accent": "red"}), "/report/accent"),
            (json!({"logo": "../secret.png"}), "/report/logo"),
            (json!({"logo": "/etc/passwd"}), "/report/logo"),
            (json!({"approved": {"nam": "x"}}), "/report/approved/nam"),
            (json!({"responses": {"x": {"owner": 1}}}), "/report/responses/x"),
        ] {
            let e = Look::of(&value, here).unwrap_err();
            assert_eq!(e.place(), Some(at), "{value}");
        }
        assert!(
            Look::of(&json!({"compny": "x"}), here)
                .unwrap_err()
                .message()
                .contains("did you mean `company`?")
        );
    }
}
