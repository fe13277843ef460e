//! Paths (`input.orders[0].total`) and format texts (`order {input.id}`).

use serde_json::Value;

/// A path may have this many parts.
const MAX_SEGMENTS: usize = 64;

/// A path that has been read: its text and its parts, in which `a.0`, `a[0]` and `a["0"]` are the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path<'a> {
    pub text: &'a str,
    pub segments: Vec<&'a str>,
}

/// Where and why a path found nothing.
pub(super) struct Stop {
    /// How many parts did resolve.
    pub resolved: usize,
    pub why: String,
}

impl<'a> Path<'a> {
    /// Reads a path. Parts are divided by dots; an index or a quoted key may stand in brackets:
    /// `a.b[0]["Order ID"]`. The error says what is wrong with it.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = text;
        let mut first = true;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (segment, after) = bracket(inner)?;
                segments.push(segment);
                rest = after;
            } else {
                let name = match (first, rest.strip_prefix('.')) {
                    (true, _) => rest,
                    (false, Some(name)) => name,
                    (false, None) => return Err("after `]` a dot or another `[` must follow".to_owned()),
                };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let segment = &name[..end];
                if segment.is_empty() {
                    return Err("a part of the path is empty".to_owned());
                }
                let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ']' | '{' | '}' | '"' | '\'');
                if let Some(c) = segment.chars().find(|c| odd(*c)) {
                    return Err(format!(
                        "`{}` must stand in a quoted key, like `[\"a key\"]`",
                        c.escape_default()
                    ));
                }
                segments.push(segment);
                rest = &name[end..];
            }
            first = false;
            if segments.len() > MAX_SEGMENTS {
                return Err(format!("it has more than {MAX_SEGMENTS} parts"));
            }
        }
        if segments.is_empty() {
            return Err("the path is empty".to_owned());
        }
        Ok(Path { text, segments })
    }

    /// The path's first parts, for messages.
    pub(super) fn head(&self, n: usize) -> String {
        self.segments[..n.min(self.segments.len())].join(".")
    }
}

/// What stands between `[` and `]`, and what follows.
fn bracket(inner: &str) -> Result<(&str, &str), String> {
    let unclosed = || "a `[` is never closed".to_owned();
    if let Some(quote) = inner.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let (key, after) = inner[1..].split_once(quote).ok_or("a quoted key is never closed")?;
        return Ok((key, after.strip_prefix(']').ok_or_else(unclosed)?));
    }
    let (index, after) = inner.split_once(']').ok_or_else(unclosed)?;
    if index_of(index).is_none() {
        return Err("in brackets there stands a number from 0 or a quoted key".to_owned());
    }
    Ok((index, after))
}

/// A segment as an index into an array: digits without a leading zero.
pub(super) fn index_of(segment: &str) -> Option<usize> {
    let plain = segment.bytes().all(|b| b.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    if plain { segment.parse().ok() } else { None }
}

/// Follows segments into a value.
pub(super) fn walk<'v>(value: &'v Value, segments: &[&str]) -> Result<&'v Value, Stop> {
    let mut here = value;
    for (resolved, segment) in segments.iter().enumerate() {
        let next = match here {
            Value::Object(map) => map
                .get(*segment)
                .ok_or_else(|| format!("has no field `{}`", crate::json::clip(segment))),
            Value::Array(list) => match index_of(segment) {
                Some(i) => list
                    .get(i)
                    .ok_or_else(|| format!("has {} items, so there is no item {i} (the first is 0)", list.len())),
                None => Err("is an array, whose items are named by number".to_owned()),
            },
            other => Err(format!("is {}", kind_name(other))),
        };
        here = next.map_err(|why| Stop { resolved, why })?;
    }
    Ok(here)
}

/// The type of a value with its article, for messages.
pub(crate) fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A piece of a format text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Path(Path<'a>),
}

/// Takes a format text apart: `{path}` is a reference, `{{` and `}}` are braces.
pub(super) fn format_parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        if brace > 0 {
            parts.push(Part::Text(&rest[..brace]));
        }
        let (open, after) = (rest[brace..].starts_with('{'), &rest[brace + 1..]);
        if after.starts_with(if open { '{' } else { '}' }) {
            parts.push(Part::Text(&after[..1]));
            rest = &after[1..];
        } else if open {
            let (path, after) = after
                .split_once('}')
                .ok_or("a `{` is never closed; write `{{` for the character itself")?;
            let path = Path::parse(path).map_err(|why| format!("`{{{}}}`: {why}", crate::json::clip(path)))?;
            parts.push(Part::Path(path));
            rest = after;
        } else {
            return Err("a `}` stands alone; write `}}` for the character itself".to_owned());
        }
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_have_one_reading() {
        for (text, segments) in [
            ("input", vec!["input"]),
            ("a.b[0].c", vec!["a", "b", "0", "c"]),
            ("a.b.0.c", vec!["a", "b", "0", "c"]),
            ("a[0][12]", vec!["a", "0", "12"]),
            ("a[\"Order ID\"].x", vec!["a", "Order ID", "x"]),
            ("a['a.b']", vec!["a", "a.b"]),
            ("a.content-type", vec!["a", "content-type"]),
        ] {
            assert_eq!(Path::parse(text).unwrap().segments, segments, "{text}");
        }
        for bad in [
            "", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[01]", "a[0]b", "a[-1]", "a b", "a[\"x]", "a]",
        ] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
        assert!(Path::parse(&"a.".repeat(70)).is_err());
    }

    #[test]
    fn format_texts_are_taken_apart() {
        let parts = format_parts("{{a}} {input.x}!").unwrap();
        let texts: Vec<&str> = parts
            .iter()
            .map(|p| match p {
                Part::Text(t) => *t,
                Part::Path(p) => p.text,
            })
            .collect();
        assert_eq!(texts, ["{", "a", "}", " ", "input.x", "!"]);
        for bad in ["{", "}", "a } b", "{}", "{a", "{a b}", "{{}"] {
            assert!(format_parts(bad).is_err(), "{bad}");
        }
    }
}
