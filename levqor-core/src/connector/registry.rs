use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::suggest::nearest;
use super::{Action, Connector, Cx, Manifest, Output};
use crate::error::{Error, ErrorKind, Result};

/// The connectors of an engine, by name.
#[derive(Clone, Default)]
pub struct Registry {
    connectors: BTreeMap<String, Arc<dyn Connector>>,
}

impl Registry {
    /// A registry without connectors.
    pub fn new() -> Self {
        Registry::default()
    }

    /// Adds a connector under the name in its manifest.
    ///
    /// # Errors
    /// `connector.duplicate` if the name is taken; `connector.name_invalid` if it or the name of an action
    /// is not made of `a-z 0-9 _`.
    pub fn add(&mut self, connector: Arc<dyn Connector>) -> Result<()> {
        let manifest = connector.manifest();
        let plain = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        for name in std::iter::once(&manifest.name).chain(manifest.actions.iter().map(|a| &a.name)) {
            if !plain(name) {
                let message = format!("`{name}` cannot be the name of a connector or action");
                return Err(Error::new(ErrorKind::Config, "connector.name_invalid", message).hint("use the characters a-z 0-9 _"));
            }
        }
        let name = manifest.name.clone();
        if self.connectors.contains_key(&name) {
            let message = format!("there is already a connector `{name}`");
            return Err(Error::new(ErrorKind::Config, "connector.duplicate", message));
        }
        self.connectors.insert(name, connector);
        Ok(())
    }

    /// The connector of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Connector>> {
        self.connectors.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.connectors.keys().map(String::as_str)
    }

    /// All manifests, sorted by name.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.connectors.values().map(|c| c.manifest())
    }

    /// The connector and action behind a name like `http.request`.
    ///
    /// # Errors
    /// `connector.unknown` and `connector.unknown_action`, with the name that was probably meant.
    pub fn action(&self, name: &str) -> Result<(&Arc<dyn Connector>, &Action)> {
        let shown: String = name.chars().take(80).collect();
        let (first, second) = name.split_once('.').unwrap_or((name, ""));
        let Some(connector) = self.get(first) else {
            let shown: String = first.chars().take(80).collect();
            let e = Error::not_found("connector.unknown", format!("there is no connector `{shown}`"));
            return Err(match nearest(first, self.names()) {
                Some(meant) => e.hint(format!("did you mean `{meant}`?")),
                None => e.hint(list("the connectors are", self.names())),
            });
        };
        let manifest = connector.manifest();
        if let Some(action) = manifest.action(second) {
            return Ok((connector, action));
        }
        let actions = || manifest.actions.iter().map(|a| a.name.as_str());
        let e = Error::not_found("connector.unknown_action", format!("there is no action `{shown}`"));
        Err(match nearest(second, actions()) {
            Some(meant) => e.hint(format!("did you mean `{first}.{meant}`?")),
            None => e.hint(list(&format!("the actions of `{first}` are"), actions())),
        })
    }

    /// Carries out an action by its full name.
    pub async fn call(&self, cx: &Cx, name: &str, input: &Value) -> Result<Output> {
        let (connector, action) = self.action(name)?;
        connector.call(cx, &action.name, input).await
    }
}

fn list<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.take(20).map(|n| format!("`{n}`")).collect();
    if names.is_empty() {
        return "none is registered".to_owned();
    }
    format!("{what} {}", names.join(", "))
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::layers::probe::{Probe, cx};

    fn registry() -> Registry {
        let mut r = Registry::new();
        r.add(Probe::named("http").shared()).unwrap();
        r.add(Probe::named("webhook").shared()).unwrap();
        r
    }

    #[tokio::test]
    async fn an_action_is_called_by_its_full_name() {
        let out = registry().call(&cx(), "http.write", &json!({"n": 1})).await.unwrap();
        assert_eq!(out.data, json!({"n": 1}));
    }

    #[test]
    fn unknown_names_are_refused_with_the_name_that_was_meant() {
        let r = registry();
        for (name, code, help) in [
            ("htpp.write", "connector.unknown", "did you mean `http`?"),
            ("slack.post", "connector.unknown", "the connectors are `http`, `webhook`"),
            ("http.wirte", "connector.unknown_action", "did you mean `http.write`?"),
            (
                "http.delete_it",
                "connector.unknown_action",
                "the actions of `http` are `read`, `write`",
            ),
            (
                "http",
                "connector.unknown_action",
                "the actions of `http` are `read`, `write`",
            ),
            ("", "connector.unknown", "the connectors are `http`, `webhook`"),
        ] {
            let e = r.action(name).err().unwrap();
            assert_eq!((e.code(), e.help()), (code, Some(help)), "{name}");
        }
    }

    #[test]
    fn a_name_is_taken_once_and_is_plain() {
        let mut r = registry();
        assert_eq!(
            r.add(Probe::named("http").shared()).unwrap_err().code(),
            "connector.duplicate"
        );
        for bad in ["", "a.b", "A", "a b"] {
            assert_eq!(
                r.add(Probe::named(bad).shared()).unwrap_err().code(),
                "connector.name_invalid"
            );
        }
        assert_eq!(r.names().collect::<Vec<_>>(), ["http", "webhook"]);
    }
}
