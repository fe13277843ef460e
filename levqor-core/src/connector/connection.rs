use std::fmt;

use serde_json::Value;
use url::Url;

/// Credentials and settings of one account at one vendor. Its values never show in `Debug`.
#[derive(Clone)]
pub struct Connection {
    name: String,
    values: Value,
    connector: Option<String>,
}

/// Settings whose texts are no secrets. Whatever is not listed is treated as one, so that a setting that
/// nobody thought of is hidden rather than shown.
const PLAIN: [&str; 23] = [
    "auth",
    "base_url",
    "bucket",
    "business_account_id",
    "cloud_id",
    "dc",
    "from",
    "header",
    "hello",
    "host",
    "idempotency_header",
    "organization",
    "phone_number_id",
    "port",
    "prefix",
    "region",
    "root",
    "scopes",
    "shop",
    "site",
    "tenant",
    "tls",
    "token_url",
];

/// Shorter texts are not hidden: they would be found everywhere.
const SHORTEST_SECRET: usize = 4;

impl Connection {
    /// A connection by its name, with its settings as a JSON object.
    pub fn new(name: impl Into<String>, values: Value) -> Self {
        Connection {
            name: name.into(),
            values,
            connector: None,
        }
    }

    /// The same for one connector only: no other may be called with it.
    #[must_use]
    pub fn of(mut self, connector: impl Into<String>) -> Self {
        self.connector = Some(connector.into());
        self
    }

    /// The connector that it is for, if it is for one only.
    pub fn connector(&self) -> Option<&str> {
        self.connector.as_deref()
    }

    /// The name that pipelines use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A text setting.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.values.get(field).and_then(Value::as_str)
    }

    /// Any setting.
    pub fn value(&self, field: &str) -> Option<&Value> {
        self.values.get(field)
    }

    /// The names of its settings.
    pub fn settings(&self) -> impl Iterator<Item = &str> {
        self.values.as_object().into_iter().flat_map(|o| o.keys().map(String::as_str))
    }

    /// Every text in the settings that must never be printed: all but the few settings that are known to be
    /// plain (`base_url`, `host`, `from` and the like), and of a `base_url` its query.
    pub fn secrets(&self) -> Vec<&str> {
        fn walk<'a>(v: &'a Value, out: &mut Vec<&'a str>) {
            match v {
                Value::String(s) if s.len() >= SHORTEST_SECRET => out.push(s),
                Value::Array(a) => a.iter().for_each(|v| walk(v, out)),
                Value::Object(o) => o.values().for_each(|v| walk(v, out)),
                _ => {}
            }
        }
        let mut out = Vec::new();
        match &self.values {
            Value::Object(settings) => {
                let hidden = settings.iter().filter(|(name, _)| !PLAIN.contains(&name.as_str()));
                hidden.for_each(|(_, value)| walk(value, &mut out));
            }
            other => walk(other, &mut out),
        }
        if let Some(base) = self.text("base_url") {
            let bare = Url::parse(base).is_ok_and(|u| u.username().is_empty() && u.password().is_none());
            match base.split_once('?') {
                _ if !bare => out.push(base),
                Some((_, query)) if query.len() >= SHORTEST_SECRET => out.push(query),
                _ => {}
            }
        }
        out
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_but_plain_settings_is_a_secret() {
        let c = Connection::new(
            "crm",
            json!({
                "base_url": "https://crm.example/v1?key=hunter22", "host": "smtp.example.com", "token": "tok-1",
                "nested": {"list": ["deep-1", "abc"]}, "port": 25, "username": "jane"
            }),
        );
        let mut secrets = c.secrets();
        secrets.sort_unstable();
        assert_eq!(secrets, ["deep-1", "jane", "key=hunter22", "tok-1"]);
        assert_eq!(format!("{c:?}"), r#"Connection { name: "crm", .. }"#);
        let user = Connection::new("x", json!({"base_url": "https://a:b@c.example"}));
        assert_eq!(user.secrets(), ["https://a:b@c.example"]);
    }
}
