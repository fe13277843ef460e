//! Shaping requests: paths, queries, bodies.

use std::fmt::Write as _;

use levqor_core::error::{Error, Result};
use levqor_core::types::random_bytes;
use serde_json::Value;

use super::Object;

/// A request to a vendor, before address and credentials are put to it.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    /// Behind the base URL, encoded.
    pub(crate) path: String,
    /// Another host than the vendor's: the setting that may name it, and its usual address.
    pub(crate) host: Option<(&'static str, &'static str)>,
    /// The usual address of its host, where that depends on the input.
    pub(crate) base: Option<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    /// The largest answer that is read, in bytes.
    pub(crate) max_response: usize,
}

impl Ask {
    /// A request without anything.
    pub(crate) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Ask {
            method,
            path: path.into(),
            host: None,
            base: None,
            query: vec![],
            headers: vec![],
            body: None,
            max_response: 8 << 20,
        }
    }

    /// Whether it changes nothing by nature.
    pub(crate) fn safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }

    pub(crate) fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.into(), value.into()));
    }

    /// Sets the body and what it is.
    pub(crate) fn content(&mut self, kind: &str, body: impl Into<Vec<u8>>) {
        self.header("content-type", kind);
        self.body = Some(body.into());
    }

    /// A body of JSON.
    pub(crate) fn json(&mut self, value: &Value) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|e| Error::internal(e.to_string()))?;
        self.content("application/json; charset=utf-8", bytes);
        Ok(())
    }

    /// A body of several parts: `form-data` (RFC 7578) or `related` (RFC 2387).
    pub(crate) fn multipart(&mut self, kind: &str, parts: &[Part<'_>]) {
        let boundary = format!("levqor{:032x}", u128::from_be_bytes(random_bytes()));
        let mut body = Vec::new();
        for part in parts {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            if let Some(name) = part.name {
                let mut line = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
                if let Some(file) = part.file {
                    let _ = write!(line, "; filename=\"{}\"", quoted(file));
                }
                body.extend_from_slice(line.as_bytes());
                body.extend_from_slice(b"\r\n");
            }
            if let Some(kind) = part.kind {
                let kind: String = kind.chars().filter(|c| !c.is_control()).collect();
                body.extend_from_slice(format!("Content-Type: {kind}\r\n").as_bytes());
            }
            body.extend_from_slice(b"\r\n");
            body.extend_from_slice(part.body);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        self.content(&format!("multipart/{kind}; boundary={boundary}"), body);
    }
}

/// A part of a multipart body.
pub(crate) struct Part<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) file: Option<&'a str>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// As browsers write names of fields and files (HTML, "multipart/form-data encoding algorithm").
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// How a vendor writes lists and objects in forms and queries.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Bodies are forms, not JSON.
    pub(crate) form: bool,
    /// A body of JSON says its charset, though there is only one.
    pub(crate) charset: bool,
    /// `a[b]=1` and `a[0]=1`; without it lists repeat the name and objects are JSON.
    pub(crate) brackets: bool,
}

impl Style {
    /// Bodies of JSON; lists repeat the name in queries.
    pub(crate) const JSON: Style = Style {
        form: false,
        charset: true,
        brackets: false,
    };
    /// Bodies of JSON of which only the type is said.
    pub(crate) const PLAIN: Style = Style {
        charset: false,
        ..Style::JSON
    };
    /// Bodies are forms; lists repeat the name.
    pub(crate) const FORM: Style = Style {
        form: true,
        charset: false,
        brackets: false,
    };
    /// Bodies are forms with brackets.
    pub(crate) const BRACKETS: Style = Style {
        form: true,
        charset: false,
        brackets: true,
    };

    /// Adds a field to the query.
    pub(crate) fn query(self, ask: &mut Ask, name: &str, value: &Value) {
        self.flatten(name, value, &mut ask.query);
    }

    /// Makes the fields the body.
    pub(crate) fn body(self, ask: &mut Ask, fields: Object) -> Result<()> {
        if !self.form {
            ask.json(&Value::Object(fields))?;
            if let Some((_, kind)) = ask.headers.last_mut().filter(|_| !self.charset) {
                "application/json".clone_into(kind);
            }
            return Ok(());
        }
        let mut pairs = Vec::new();
        fields.iter().for_each(|(name, value)| self.flatten(name, value, &mut pairs));
        ask.content("application/x-www-form-urlencoded", encode(&pairs));
        Ok(())
    }

    fn flatten(self, name: &str, value: &Value, out: &mut Vec<(String, String)>) {
        let text = match value {
            Value::Null => String::new(),
            Value::Bool(b) => b.to_string(),
            Value::Number(n) => n.to_string(),
            Value::String(s) => s.clone(),
            Value::Array(list) if self.brackets => {
                let each = list.iter().enumerate();
                return each.for_each(|(i, v)| self.flatten(&format!("{name}[{i}]"), v, out));
            }
            Value::Object(o) if self.brackets => {
                return o.iter().for_each(|(k, v)| self.flatten(&format!("{name}[{k}]"), v, out));
            }
            Value::Array(list) => return list.iter().for_each(|v| self.flatten(name, v, out)),
            Value::Object(_) => value.to_string(),
        };
        out.push((name.to_owned(), text));
    }
}

/// Pairs as in a form.
pub(crate) fn encode(pairs: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// Pairs as in a query (RFC 3986: a space is `%20`).
pub(crate) fn query_string(pairs: &[(String, String)]) -> String {
    let each: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent(name, b""), percent(value, b"")))
        .collect();
    each.join("&")
}

/// Everything that RFC 3986 does not leave unreserved, as `%XX`, but for the bytes in `keep`.
pub(crate) fn percent(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) || keep.contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// Puts fields into a path: `{name}` is one segment, `{name*}` may hold slashes. They are taken out of the input.
/// `{@name}` is a setting.
pub(crate) fn fill<'a>(path: &str, fields: &mut Object, setting: impl Fn(&str) -> Option<&'a str>) -> Result<String> {
    let mut out = String::with_capacity(path.len() + 32);
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        out.push_str(before);
        let (name, many) = name.strip_suffix('*').map_or((name, false), |n| (n, true));
        let text = match (name.strip_prefix('@'), fields.get(name)) {
            (Some(name), _) => setting(name).unwrap_or_default().to_owned(),
            (None, Some(Value::String(s))) => s.clone(),
            (None, Some(Value::Number(n))) => n.to_string(),
            _ => String::new(),
        };
        fields.remove(name);
        let bad = |what: &str| Err(Error::invalid("connector.path_invalid", format!("`{name}` {what}")).at(format!("/{name}")));
        let segments: Vec<&str> = if many { text.split('/').collect() } else { vec![&text] };
        for (i, segment) in segments.iter().enumerate() {
            // An address with a dot segment is another address; an empty one is the list of all.
            match *segment {
                "" => return bad("is empty or has an empty part"),
                "." | ".." => return bad("cannot be or hold `.` or `..`"),
                segment => {
                    if i > 0 {
                        out.push('/');
                    }
                    out.push_str(&percent(segment, b"!@:,$"));
                }
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value)]
    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn fields_go_into_the_path_encoded() {
        let mut fields =
            object(json!({"id": "a/b c?#é", "range": "Sheet 1!A1:B2", "n": 7, "path": "docs/read me.md", "left": 1}));
        let path = fill("v1/{id}/values/{range}:append/{n}/{path*}/{@me}", &mut fields, |_| {
            Some("m e")
        })
        .unwrap();
        assert_eq!(
            path,
            "v1/a%2Fb%20c%3F%23%C3%A9/values/Sheet%201!A1:B2:append/7/docs/read%20me.md/m%20e"
        );
        assert_eq!(Value::Object(fields), json!({"left": 1}));
    }

    #[test]
    fn no_field_leads_to_another_address() {
        for bad in ["", ".", "..", "a/../b", "a//b", "/a", "a/"] {
            let e = fill("x/{p*}", &mut object(json!({"p": bad})), |_| None).unwrap_err();
            assert_eq!((e.code(), e.place()), ("connector.path_invalid", Some("/p")), "{bad}");
        }
        assert_eq!(
            fill("x/{p}", &mut object(json!({"p": "../a"})), |_| None).unwrap(),
            "x/..%2Fa"
        );
        assert!(fill("x/{p}", &mut object(json!({"p": ".."})), |_| None).is_err());
    }

    #[test]
    fn lists_and_objects_are_written_as_the_vendor_reads_them() {
        let value = json!({"a": {"b": [1, true]}, "c": ["x", "y"], "d": "é&"});
        let written = |style: Style| {
            let mut ask = Ask::new("POST", "");
            style.body(&mut ask, object(value.clone())).unwrap();
            String::from_utf8(ask.body.unwrap()).unwrap()
        };
        assert_eq!(
            written(Style::BRACKETS),
            "a%5Bb%5D%5B0%5D=1&a%5Bb%5D%5B1%5D=true&c%5B0%5D=x&c%5B1%5D=y&d=%C3%A9%26"
        );
        assert_eq!(written(Style::FORM), "a=%7B%22b%22%3A%5B1%2Ctrue%5D%7D&c=x&c=y&d=%C3%A9%26");
    }

    #[test]
    fn no_name_breaks_out_of_its_part() {
        let mut ask = Ask::new("POST", "");
        let part = Part {
            name: Some("f"),
            file: Some("a\"\r\nX: y.txt"),
            kind: Some("text/plain\r\nX: y"),
            body: b"hi",
        };
        ask.multipart("form-data", &[part]);
        let text = String::from_utf8(ask.body.unwrap()).unwrap();
        assert!(
            text.contains("name=\"f\"; filename=\"a%22%0D%0AX: y.txt\"\r\nContent-Type: text/plainX: y\r\n\r\nhi\r\n--"),
            "{text}"
        );
    }
}
