//! Polls: an action that asks, and what is new in its answer.

use levqor_core::connector::{Trigger, TriggerKind};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Told, typed};
use crate::kit::schema;

/// What a poll asks and how its answers are read. Both are pure.
pub(crate) struct Poll {
    pub(super) trigger: Trigger,
    pub(super) ask: fn(&Value, Option<&Value>) -> Value,
    pub(super) read: fn(Option<&Value>, &Value) -> (Vec<Told>, Value),
    pub(super) typed: fn(Value) -> serde_json::Result<Value>,
}

/// A poll with the types of what it is set up with and of its events.
pub(crate) fn poll<I, E>(
    name: &str,
    title: &str,
    description: &str,
    action: &str,
    ask: fn(&Value, Option<&Value>) -> Value,
    read: fn(Option<&Value>, &Value) -> (Vec<Told>, Value),
) -> Poll
where
    I: JsonSchema,
    E: DeserializeOwned + Serialize + JsonSchema,
{
    Poll {
        trigger: Trigger {
            name: name.into(),
            title: title.into(),
            description: description.into(),
            kind: TriggerKind::Poll,
            event: schema::<E>(),
            input: schema::<I>(),
            action: action.into(),
        },
        ask,
        read,
        typed: typed::<E>,
    }
}

/// The input of an action: what the poll was set up with, and more.
pub(crate) fn asked(input: &Value, more: Value) -> Value {
    let mut all = input.as_object().cloned().unwrap_or_default();
    if let Value::Object(more) = more {
        all.extend(more.into_iter().filter(|(_, v)| !v.is_null()));
    }
    all.into()
}

/// The moment that a cursor stands at, unless nothing was there so far.
pub(crate) fn since(cursor: Option<&Value>) -> Option<&str> {
    cursor?.get("at")?.as_str().filter(|at| !at.is_empty())
}

/// Ids that a cursor remembers.
pub(crate) fn cursor_ids(cursor: Option<&Value>) -> Vec<&str> {
    let ids = cursor.and_then(|c| c.get("ids")?.as_array());
    ids.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What changed since, where every item has an id and the moment of its last change, a text that sorts by time.
///
/// A cursor is the latest moment and the ids of that moment, since a vendor's clock may be no finer than a minute.
/// Without a cursor nothing is new: the poll begins here.
pub(crate) fn newer(cursor: Option<&Value>, output: &Value, items: &str, id: &str, moment: &str) -> (Vec<Told>, Value) {
    let text = |item: &Value, at: &str| super::at(item, at);
    let last = since(cursor).unwrap_or_default();
    let known = cursor_ids(cursor);
    let mut all: Vec<&Value> = output
        .pointer(items)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    all.sort_by_key(|item| text(item, moment));
    all.retain(|item| {
        let at = text(item, moment);
        at.as_str() > last || (at == last && !known.contains(&text(item, id).as_str()))
    });
    let latest = all.last().map_or_else(|| last.to_owned(), |item| text(item, moment));
    let mut ids: Vec<String> = if latest == last {
        known.iter().map(ToString::to_string).collect()
    } else {
        vec![]
    };
    ids.extend(
        all.iter()
            .filter(|item| text(item, moment) == latest)
            .map(|item| text(item, id)),
    );
    let next = json!({"at": latest, "ids": ids});
    if cursor.is_none() {
        return (vec![], next);
    }
    let told = all.into_iter().map(|item| Told {
        id: format!("{}@{}", text(item, id), text(item, moment)),
        kind: "changed".into(),
        at: None,
        data: item.clone(),
    });
    (told.collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_told_once_however_coarse_the_clock() {
        let item = |id: &str, at: &str| json!({"id": id, "at": at});
        let page = |items: &[Value]| json!({"items": items});
        let run = |cursor: Option<&Value>, items: &[Value]| {
            let (told, next) = newer(cursor, &page(items), "/items", "/id", "/at");
            (told.into_iter().map(|t| t.id).collect::<Vec<_>>(), next)
        };
        let (told, c) = run(None, &[item("b", "10:02"), item("a", "10:01")]);
        assert_eq!((told, &c), (vec![], &json!({"at": "10:02", "ids": ["b"]})));
        let (told, c) = run(Some(&c), &[item("c", "10:02"), item("b", "10:02")]);
        assert_eq!(
            (told, &c),
            (vec!["c@10:02".to_owned()], &json!({"at": "10:02", "ids": ["b", "c"]}))
        );
        let (told, c) = run(
            Some(&c),
            &[item("b", "10:02"), item("c", "10:02"), item("b", "10:04"), item("d", "10:03")],
        );
        assert_eq!(told, ["d@10:03", "b@10:04"]);
        let (told, same) = run(Some(&c), &[]);
        assert_eq!((told, same), (vec![], c));
        let (told, c) = run(None, &[]);
        assert!(told.is_empty());
        assert_eq!(run(Some(&c), &[item("a", "10:01")]).0, ["a@10:01"]);
    }
}
