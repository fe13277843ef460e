//! Answers in pages.

use levqor_core::error::Result;
use serde_json::Value;
use url::Url;

use super::Object;
use super::call::Call;
use super::session::{Reply, Session};

/// Pages that one call reads at most.
pub(crate) const MAX_PAGES: u64 = 100;

/// How an action's pages follow each other.
#[derive(Clone, Copy)]
pub(crate) struct Pages {
    /// The items within the output: a JSON pointer; empty where the answer itself is the list.
    pub(crate) items: &'static str,
    /// How the next page is found.
    pub(crate) next: Next,
}

/// Where the way to the next page stands. Every paged output has it as `next`, null at the end.
#[derive(Clone, Copy)]
pub(crate) enum Next {
    /// A cursor stands at this JSON pointer, and goes into this field.
    Cursor(&'static str, &'static str),
    /// If the flag at the pointer is true, the last item's id goes into this field.
    LastId(&'static str, &'static str),
    /// If the flag at the first pointer is true, a cursor stands at the second and goes into this field.
    Flagged(&'static str, &'static str, &'static str),
    /// A page that has as many items as the second field asks for, or as many as this without it, is not the last;
    /// the text at the pointer within its last item goes into the first field.
    Full(&'static str, &'static str, usize, &'static str),
    /// If the flag at the pointer is true, how many items were read so far goes into this field.
    Offset(&'static str, &'static str),
    /// How many items there are stands at the pointer; how many were read so far goes into this field.
    Total(&'static str, &'static str),
    /// A `Link` header with `rel="next"` (RFC 8288). Its query is what the field `next` takes.
    Link,
    /// A URL stands at this JSON pointer. Its query is what the field `next` takes.
    Uri(&'static str),
}

impl Pages {
    /// Reads pages until there is none left or enough were read.
    pub(crate) async fn read(&self, session: &Session<'_>, call: &Call, mut fields: Object, most: u64) -> Result<Value> {
        let mut items = Vec::new();
        let mut pages = 0;
        loop {
            let mut ask = call.ask(session, fields.clone())?;
            if let (Next::Link | Next::Uri(_), Some(query)) = (&self.next, fields.get("next").and_then(Value::as_str)) {
                // It holds the other parameters too.
                ask.query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            }
            let reply = session.send(ask).await?;
            let mut body = call.pick(&reply)?;
            if body.is_array() {
                body = serde_json::json!({"items": body});
            }
            let at = if self.items.is_empty() { "/items" } else { self.items };
            let next = self.next(&reply, &body, at, &fields);
            if let Some(Value::Array(more)) = body.pointer_mut(at).map(Value::take) {
                items.extend(more);
            }
            pages += 1;
            let field = match self.next {
                Next::Cursor(_, to)
                | Next::LastId(_, to)
                | Next::Flagged(_, _, to)
                | Next::Full(to, ..)
                | Next::Offset(_, to)
                | Next::Total(_, to) => to,
                Next::Link | Next::Uri(_) => "next",
            };
            match next {
                Some(next) if pages < most => {
                    fields.insert(field.into(), next.into());
                }
                next => {
                    if let Some(place) = body.pointer_mut(at) {
                        *place = Value::Array(items);
                    } else if let Some(object) = body.as_object_mut() {
                        object.insert(at.trim_start_matches('/').into(), Value::Array(items));
                    }
                    if let Some(object) = body.as_object_mut() {
                        object.insert("next".into(), next.map_or(Value::Null, Value::from));
                    }
                    return Ok(body);
                }
            }
        }
    }

    fn next(&self, reply: &Reply, body: &Value, items: &str, fields: &Object) -> Option<String> {
        let text = |at: &str| body.pointer(at).and_then(Value::as_str).filter(|t| !t.is_empty());
        match self.next {
            Next::Cursor(at, _) => text(at).map(str::to_owned),
            Next::LastId(more, _) => {
                let last = body.pointer(items)?.as_array()?.last()?.get("id")?.as_str()?;
                (body.pointer(more)?.as_bool()?).then(|| last.to_owned())
            }
            Next::Flagged(more, at, _) => body.pointer(more)?.as_bool()?.then(|| text(at).map(str::to_owned)).flatten(),
            Next::Full(_, limit, usual, at) => {
                let all = body.pointer(items)?.as_array()?;
                let asked = fields.get(limit).and_then(Value::as_u64).unwrap_or(usual as u64);
                let last = all.last()?.pointer(at)?.as_str()?;
                (all.len() as u64 >= asked).then(|| last.to_owned())
            }
            Next::Offset(more, to) => body
                .pointer(more)?
                .as_bool()?
                .then(|| read_so_far(body, items, fields, to).to_string()),
            Next::Total(total, to) => {
                let read = read_so_far(body, items, fields, to);
                let any = body.pointer(items)?.as_array()?.is_empty();
                (!any && read < body.pointer(total)?.as_u64()?).then(|| read.to_string())
            }
            Next::Link => reply.header("link").and_then(next_link),
            Next::Uri(at) => query_of(text(at)?),
        }
    }
}

/// How many items lie before the next page.
fn read_so_far(body: &Value, items: &str, fields: &Object, field: &str) -> u64 {
    let before = match fields.get(field) {
        Some(Value::Number(n)) => n.as_u64().unwrap_or(0),
        Some(Value::String(s)) => s.parse().unwrap_or(0),
        _ => 0,
    };
    before + body.pointer(items).and_then(Value::as_array).map_or(0, |a| a.len() as u64)
}

fn query_of(url: &str) -> Option<String> {
    let base = Url::parse("http://x.invalid/").ok()?;
    base.join(url).ok()?.query().map(str::to_owned)
}

/// The query of the link to the next page. Sentry links a page that is empty too, and says so.
fn next_link(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (url, params) = link.trim().strip_prefix('<')?.split_once('>')?;
        let param = |wanted: &str| {
            params.split(';').any(|p| {
                let p: String = p.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
                p.eq_ignore_ascii_case(wanted)
            })
        };
        (param("rel=next") && !param("results=false"))
            .then(|| query_of(url))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_link_headers() {
        for (header, expected) in [
            (
                r#"<https://api.example/r?page=3&q=a%20b>; rel="next", <https://api.example/r?page=9>; rel="last""#,
                Some("page=3&q=a%20b"),
            ),
            (
                r#"<https://s.example/?cursor=0:0:1>; rel="previous"; results="false"; cursor="0:0:1", <https://s.example/?cursor=0:100:0>; rel="next"; results="true"; cursor="0:100:0""#,
                Some("cursor=0:100:0"),
            ),
            (
                r#"<https://s.example/?cursor=0:100:0>; rel="next"; results="false"; cursor="0:100:0""#,
                None,
            ),
            (r#"</r?page=1>; rel="first""#, None),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(next_link(header).as_deref(), expected, "{header}");
        }
    }
}
