//! S3 speaks XML: what of it matters, as JSON.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};

/// Deeper than this nothing is read.
const DEEPEST: usize = 16;

/// A document as JSON: an element is its text, or an object of its elements; several of one name are a list.
/// Attributes and namespaces are left out. Null if it is no XML.
pub(super) fn to_json(bytes: &[u8]) -> Value {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Value::Null;
    };
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) if open.len() < DEEPEST => open.push(Element::named(start.local_name().as_ref())),
            Ok(Event::Empty(empty)) => {
                let element = Element::named(empty.local_name().as_ref());
                if let Some(outer) = open.last_mut() {
                    outer.take(element);
                }
            }
            Ok(Event::End(_)) if open.len() > 1 => {
                if let (Some(element), Some(outer)) = (open.pop(), open.last_mut()) {
                    outer.take(element);
                }
            }
            Ok(Event::Text(text)) => match (open.last_mut(), text.decode()) {
                (Some(element), Ok(text)) => element.text.push_str(&text),
                _ => return Value::Null,
            },
            Ok(Event::GeneralRef(reference)) => {
                let known = match &*reference {
                    b"amp" => Some('&'),
                    b"lt" => Some('<'),
                    b"gt" => Some('>'),
                    b"quot" => Some('"'),
                    b"apos" => Some('\''),
                    _ => reference.resolve_char_ref().ok().flatten(),
                };
                match (open.last_mut(), known) {
                    (Some(element), Some(c)) => element.text.push(c),
                    _ => return Value::Null,
                }
            }
            Ok(Event::CData(data)) => {
                if let (Some(element), Ok(text)) = (open.last_mut(), std::str::from_utf8(&data)) {
                    element.text.push_str(text);
                }
            }
            Ok(Event::Eof) => break,
            Ok(Event::Decl(_) | Event::Comment(_) | Event::PI(_)) => {}
            _ => return Value::Null,
        }
    }
    match open.pop() {
        Some(root) if open.is_empty() && !root.children.is_empty() => Value::Object(root.children),
        _ => Value::Null,
    }
}

#[derive(Default)]
struct Element {
    name: String,
    text: String,
    children: Map<String, Value>,
}

impl Element {
    fn named(name: &[u8]) -> Self {
        Element {
            name: String::from_utf8_lossy(name).into_owned(),
            ..Element::default()
        }
    }

    fn take(&mut self, inner: Element) {
        let value = if inner.children.is_empty() {
            Value::String(inner.text)
        } else {
            Value::Object(inner.children)
        };
        match self.children.get_mut(&inner.name) {
            None => {
                self.children.insert(inner.name, value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_read_and_nonsense_is_not() {
        let text = "<?xml version=\"1.0\"?>\n<A xmlns=\"x\"><B>1 &amp; &#x32;</B><C><D>a</D></C><C><D> b</D></C><E/></A>";
        assert_eq!(
            to_json(text.as_bytes()),
            json!({"A": {"B": "1 & 2", "C": [{"D": "a"}, {"D": " b"}], "E": ""}})
        );
        let deep = "<a>".repeat(100);
        let bomb = "<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>";
        for bad in ["", "text", "<a>", "<a></b>", "{}", deep.as_str(), bomb] {
            assert_eq!(to_json(bad.as_bytes()), Value::Null, "{bad}");
        }
        assert_eq!(to_json(&[0xff, 0xfe]), Value::Null);
    }
}
