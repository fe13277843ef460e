//! What is printed: tables and sentences for people, one document for programs.

use std::fmt::Write as _;
use std::io::{ErrorKind as IoKind, Write};

use crate::error::{Error, ErrorKind, Result};
use crate::types::Millis;
use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

/// How the process ends. The help of `levqor` documents the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "integrity"), allow(dead_code))]
pub(crate) enum Exit {
    Ok,
    Failed,
    Usage,
    NotFound,
    Refused,
    Unavailable,
    Internal,
    /// `levqor integrity run`: nothing failed, and something could not be told.
    Indeterminate,
    /// `levqor integrity run`: the evidence could not be written.
    NoEvidence,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound | Exit::Indeterminate => 3,
            Exit::Refused | Exit::NoEvidence => 4,
            Exit::Unavailable => 5,
            Exit::Internal => 70,
        }
    }
}

/// How the process ends after an error.
pub(crate) fn exit_of(e: &Error) -> Exit {
    match e.kind() {
        ErrorKind::Invalid | ErrorKind::Config | ErrorKind::Unsupported => Exit::Usage,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Conflict | ErrorKind::Insufficient | ErrorKind::RateLimited | ErrorKind::Denied => Exit::Refused,
        // That somebody else is slow is no fault of the store.
        ErrorKind::Timeout if e.code() == "run.not_ended" => Exit::Failed,
        ErrorKind::Unavailable | ErrorKind::Timeout => Exit::Unavailable,
        _ => Exit::Internal,
    }
}

/// Where the answer goes.
pub(crate) struct Out {
    pub(crate) json: bool,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        Out { json }
    }

    /// The answer of the command: the document, or what people read.
    pub(crate) fn answer(&self, document: &Value, human: impl FnOnce() -> String) -> Result<()> {
        let mut text = if self.json { document.to_string() } else { human() };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut to = anstream::stdout().lock();
        match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
            // The reader has seen enough (`| head`).
            Err(e) if e.kind() == IoKind::BrokenPipe => Ok(()),
            Err(e) => Err(Error::unavailable("cli.output", format!("the answer cannot be written: {e}"))),
            Ok(()) => Ok(()),
        }
    }

    /// A remark beside the answer, for people only.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            let _ = writeln!(anstream::stderr().lock(), "{}", clean(text));
        }
    }

    /// An error: a problem document, or message, place, help and every fault.
    pub(crate) fn error(&self, e: &Error) {
        let text = if self.json { e.problem().to_string() } else { explain(e) };
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    }
}

fn explain(e: &Error) -> String {
    let (red, cyan) = (AnsiColor::Red.on_default().bold(), AnsiColor::Cyan.on_default());
    let mut text = format!("{red}error:{red:#} {}", clean(e.message()));
    let mut line = |style: Style, word: &str, what: &str| {
        let _ = write!(text, "\n  {style}{word}:{style:#} {}", clean(what));
    };
    if e.fault_list().is_empty() {
        if let Some(at) = e.place().filter(|at| !at.is_empty()) {
            line(cyan, "at", at);
        }
    } else {
        for fault in e.fault_list() {
            let at = if fault.at.is_empty() { "(the whole)" } else { &fault.at };
            line(cyan, "at", &format!("{at}: {}", fault.message));
        }
    }
    if let Some(help) = e.help() {
        line(cyan, "help", help);
    }
    text
}

/// A text on one line, without control characters: what came from outside must not steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c| match c {
        '\n' | '\t' => ' ',
        c if char::is_control(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(harmless).collect()
}

/// A table without lines, its numeric columns flush right.
pub(crate) fn table(head: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.iter().map(|h| h.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Names and values below each other.
pub(crate) fn list(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:width$}  {}", clean(value));
        text
    })
}

/// An instant for people: without the part of the second.
pub(crate) fn instant(at: Millis) -> String {
    let text = at.rfc3339();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// A document from what can be serialized.
pub(crate) fn json_of(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::internal(format!("an answer cannot be written as JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_code() {
        let code = |kind| exit_of(&Error::new(kind, "x", "x"));
        for kind in ErrorKind::ALL {
            let expected = match kind.status() {
                422 | 501 => Exit::Usage,
                500 if kind == ErrorKind::Config => Exit::Usage,
                404 => Exit::NotFound,
                402 | 403 | 409 | 429 => Exit::Refused,
                503 | 504 => Exit::Unavailable,
                _ => Exit::Internal,
            };
            assert_eq!(code(kind), expected, "{kind:?}");
        }
        assert_eq!(exit_of(&Error::new(ErrorKind::Timeout, "run.not_ended", "x")), Exit::Failed);
    }

    #[test]
    fn what_comes_from_outside_cannot_steer_the_terminal() {
        let e = Error::invalid("x", "a\u{1b}[2Jb").at("c\r\nd");
        let said = anstream::adapter::strip_str(&explain(&e)).to_string();
        assert_eq!(said, "error: a\u{fffd}[2Jb\n  at: c\u{fffd} d");
        assert!(!table(&["a"], &[], [vec!["\u{1b}]0;x\u{7}".to_owned()]]).contains('\u{1b}'));
    }
}
