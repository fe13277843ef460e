//! Results: rows in `results.json`, and the report made from them.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::plot;

/// One measurement, beside the same thing done by a peer where there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The section it belongs to; set by the program.
    #[serde(default)]
    pub(crate) section: String,
    /// What was measured.
    pub(crate) name: String,
    /// Our number; `None` where only the peer could be measured.
    pub(crate) ours: Option<f64>,
    /// Who else was measured, in the same session on the same machine.
    pub(crate) peer: Option<String>,
    /// The peer's version.
    pub(crate) peer_version: Option<String>,
    /// The peer's number, in the same unit.
    #[serde(default)]
    pub(crate) theirs: Option<f64>,
    /// The peer's number divided by ours where less is better, ours by the peer's where more is: above 1 we win.
    pub(crate) ratio: Option<f64>,
    /// The unit of `ours`.
    pub(crate) unit: String,
    /// This disk's time for a durable write at that moment, in microseconds; set by the program.
    #[serde(default)]
    pub(crate) fsync_p50_us: f64,
    /// SQLite's synchronous mode, where ours lay in SQLite.
    #[serde(default)]
    pub(crate) synchronous: Option<String>,
    /// What must be known beside the numbers, such as a peer that is not installed.
    #[serde(default)]
    pub(crate) note: Option<String>,
}

impl Row {
    /// A number of ours, without a peer.
    pub(crate) fn new(name: impl Into<String>, ours: f64, unit: impl Into<String>) -> Self {
        Row {
            section: String::new(),
            name: name.into(),
            ours: Some(ours),
            peer: None,
            peer_version: None,
            theirs: None,
            ratio: None,
            unit: unit.into(),
            fsync_p50_us: 0.0,
            synchronous: None,
            note: None,
        }
    }

    /// The same row beside a peer's, with the ratio (above 1 we win).
    #[must_use]
    pub(crate) fn beside(mut self, peer: &str, version: &str, ratio: f64) -> Self {
        self.peer = Some(peer.to_owned());
        self.peer_version = (!version.is_empty()).then(|| version.to_owned());
        self.ratio = Some(ratio);
        self
    }

    /// The row for a terminal.
    pub(crate) fn line(&self) -> String {
        format!(
            "{:<12} {:<44} {:>14}{}",
            self.section,
            self.name,
            self.amount(),
            self.against()
        )
    }

    pub(crate) fn amount(&self) -> String {
        match self.ours {
            Some(ours) => format!("{} {}", number(ours), self.unit),
            None => "not measured".to_owned(),
        }
    }

    /// The peer with its version and, where it is known, its number.
    pub(crate) fn opponent(&self) -> String {
        let Some(peer) = &self.peer else { return String::new() };
        let version = self.peer_version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
        let amount = self
            .theirs
            .map(|n| format!(": {} {}", number(n), self.unit))
            .unwrap_or_default();
        format!("{peer}{version}{amount}")
    }

    fn against(&self) -> String {
        let note = self.note.as_ref().map(|n| format!("   ({n})")).unwrap_or_default();
        match (&self.peer, self.ratio) {
            (Some(_), Some(ratio)) => format!("   {}x {}{note}", number(ratio), self.opponent()),
            (Some(_), None) => format!("   {}{note}", self.opponent()),
            _ => note,
        }
    }
}

/// Three digits that count.
pub(crate) fn number(x: f64) -> String {
    match x.abs() {
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        _ => format!("{x:.2}"),
    }
}

/// Puts the rows of a section in the place of its earlier ones, and writes the file and the report anew.
pub(crate) fn save(folder: &Path, section: &str, rows: Vec<Row>) -> Result<(), String> {
    let file = folder.join("results.json");
    let stored = match std::fs::read_to_string(&file) {
        Ok(text) => {
            serde_json::from_str(&text).map_err(|e| format!("{} is not what this program writes: {e}", file.display()))?
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(format!("{}: {e}", file.display())),
    };
    let all = merge(stored, section, rows);
    let json = serde_json::to_string_pretty(&all).map_err(|e| e.to_string())?;
    for (name, text) in [("results.json", json + "\n"), ("RESULTS.md", report(&all))] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let plots = folder.join("plots");
    std::fs::create_dir_all(&plots).map_err(|e| format!("{}: {e}", plots.display()))?;
    let rows: Vec<&Row> = all.iter().filter(|row| row.section == section).collect();
    plot::draw(&plots.join(format!("{section}.svg")), section, &rows)
}

/// The rows of `section` are replaced where they stood; those of the other sections stay.
fn merge(stored: Vec<Row>, section: &str, rows: Vec<Row>) -> Vec<Row> {
    let place = stored.iter().position(|row| row.section == section);
    let mut all: Vec<Row> = stored.into_iter().filter(|row| row.section != section).collect();
    let at = place.unwrap_or(all.len()).min(all.len());
    all.splice(at..at, rows);
    all
}

fn report(rows: &[Row]) -> String {
    let mut text = String::from(
        "# Results\n\nMade by `make bench`; edit nothing here. A ratio above 1 means that Levqor is the better one; \
         peers were measured in the\nsame session on the same machine. A durable commit cannot be faster than one fsync, \
         so every row names the disk's.\n",
    );
    let mut section = "";
    for row in rows {
        if row.section != section {
            section = &row.section;
            let _ = write!(
                text,
                "\n## {section}\n\n`make bench SECTION={section}`\n\n![{section}](plots/{section}.svg)\n\n\
                 | what | Levqor | peer | ratio | fsync p50 | synchronous |\n|---|---:|---|---:|---:|---|\n"
            );
        }
        let ratio = match (row.ratio, &row.note) {
            (Some(ratio), None) => format!("{}x", number(ratio)),
            (Some(ratio), Some(note)) => format!("{}x ({note})", number(ratio)),
            (None, note) => note.clone().unwrap_or_default(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {ratio} | {} us | {} |",
            row.name,
            row.amount(),
            row.opponent(),
            number(row.fsync_p50_us),
            row.synchronous.as_deref().unwrap_or_default()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(section: &str, name: &str, ours: f64) -> Row {
        Row {
            section: section.to_owned(),
            ..Row::new(name, ours, "ns")
        }
    }

    fn names(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|r| r.name.as_str()).collect()
    }

    #[test]
    fn a_section_is_replaced_where_it_stood() {
        let stored = vec![
            row("a", "a1", 1.0),
            row("b", "b1", 1.0),
            row("b", "b2", 1.0),
            row("c", "c1", 1.0),
        ];
        let all = merge(stored, "b", vec![row("b", "b3", 2.0)]);
        assert_eq!(names(&all), ["a1", "b3", "c1"]);
        assert_eq!(names(&merge(all, "d", vec![row("d", "d1", 1.0)])), ["a1", "b3", "c1", "d1"]);
    }

    #[test]
    fn what_is_saved_is_read_again_and_reported() {
        let folder = std::env::temp_dir().join(format!("levqor-results-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        save(&folder, "a", vec![row("a", "old", 1.0)]).unwrap();
        save(&folder, "b", vec![row("b", "other", 1.0)]).unwrap();
        let peered = Row {
            peer: Some("them".into()),
            peer_version: Some("1.2".into()),
            ratio: Some(2.5),
            ..row("a", "new", 1234.0)
        };
        save(&folder, "a", vec![peered.clone()]).unwrap();
        let stored: Vec<Row> = serde_json::from_str(&std::fs::read_to_string(folder.join("results.json")).unwrap()).unwrap();
        assert_eq!(stored, [peered, row("b", "other", 1.0)]);
        let report = std::fs::read_to_string(folder.join("RESULTS.md")).unwrap();
        assert!(report.contains("| new | 1234 ns | them 1.2 | 2.50x |"), "{report}");
        assert!(!report.contains("old"));
        std::fs::write(folder.join("results.json"), "not json").unwrap();
        assert!(save(&folder, "a", vec![]).unwrap_err().contains("results.json"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
