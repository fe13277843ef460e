//! The variables that a run sees, and what of them may never be shown.

use std::collections::BTreeMap;
use std::fmt;

use levqor_core::layers::Redactor;
use levqor_core::layers::redact::MASK;
use serde_json::Value;
use url::Url;

/// Environment variables, as they were when the run began. `Debug` shows their number.
#[derive(Clone, Default)]
pub struct Environment {
    vars: BTreeMap<String, String>,
}

/// Names that say that a value is secret.
const SECRET_NAMES: &[&str] = &[
    "SECRET",
    "TOKEN",
    "KEY",
    "PASS",
    "PWD",
    "DSN",
    "CREDENTIAL",
    "PRIVATE",
    "WEBHOOK",
    "AUTH",
    "SALT",
    "COOKIE",
    "CANARY",
];
/// Names whose values are everybody's.
const PUBLIC_NAMES: &[&str] = &[
    "PATH",
    "HOME",
    "PWD",
    "OLDPWD",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TERM",
    "TMPDIR",
    "HOSTNAME",
    "EDITOR",
    "PAGER",
    "DISPLAY",
    "SHLVL",
    "COLORTERM",
    "TZ",
];
const PUBLIC_PREFIXES: &[&str] = &["LC_", "XDG_", "CARGO_", "RUST", "PUBLIC_", "NEXT_PUBLIC_", "LS_", "DBUS_"];
/// A value that is shorter is also part of other words; masking it would make every text unreadable.
const SHORTEST_SECRET: usize = 6;

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The value of a variable, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// Sets a variable for this run.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.vars.insert(name.into(), value.into());
    }

    /// Every variable, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The variables whose value is secret: by their name, or because it looks like nothing else.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(|(name, value)| is_secret(name, value))
    }

    /// What takes the secrets out of everything that a run says. `more` are secrets from elsewhere.
    pub fn redactor(&self, more: &[String]) -> Mask {
        let known: Vec<&str> = self
            .secrets()
            .map(|(_, v)| v)
            .chain(more.iter().map(String::as_str))
            .collect();
        let parts: Vec<String> = known.iter().flat_map(|s| parts(s)).collect();
        Mask(Redactor::new(
            known
                .iter()
                .copied()
                .filter(|s| s.len() >= SHORTEST_SECRET)
                .chain(parts.iter().map(String::as_str)),
        ))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Environment {
            vars: pairs.into_iter().collect(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.vars.len())
    }
}

/// Whether a name alone says that its value is secret.
pub(crate) fn secret_by_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let public = PUBLIC_NAMES.contains(&upper.as_str()) || PUBLIC_PREFIXES.iter().any(|p| upper.starts_with(p));
    !public && SECRET_NAMES.iter().any(|word| upper.contains(word))
}

fn is_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if PUBLIC_NAMES.contains(&upper.as_str()) || PUBLIC_PREFIXES.iter().any(|p| upper.starts_with(p)) {
        return false;
    }
    secret_by_name(name) || with_password(value) || looks_random(value)
}

fn with_password(value: &str) -> bool {
    Url::parse(value).is_ok_and(|u| u.has_host() && (u.password().is_some() || !u.username().is_empty()))
}

/// One long word with letters and digits in it, no path and no address.
fn looks_random(value: &str) -> bool {
    value.len() >= 16
        && !value.contains("://")
        && !value.starts_with(['/', '.'])
        && value.chars().all(|c| c.is_ascii_graphic())
        && value.chars().any(|c| c.is_ascii_digit())
        && value.chars().any(|c| c.is_ascii_alphabetic())
}

/// Parts of a secret that give it away by themselves: the password in an address, the long parts of its path, and the
/// beginning of a long word.
fn parts(secret: &str) -> Vec<String> {
    if let Ok(url) = Url::parse(secret)
        && url.has_host()
    {
        // In a web address the user part is a key (Sentry), and so are long parts of the path (Slack); in a database's the
        // user and the database have names.
        let web = matches!(url.scheme(), "http" | "https");
        let path = url.path_segments().into_iter().flatten().filter(|p| web && p.len() >= 16);
        let user = Some(url.username()).filter(|u| web && u.len() >= 8);
        let password = url.password().filter(|p| p.len() >= 4);
        return user.into_iter().chain(password).chain(path).map(str::to_owned).collect();
    }
    if secret.len() >= 24 {
        return secret.get(..16).map(str::to_owned).into_iter().collect();
    }
    Vec::new()
}

/// Takes secrets out of texts and values.
#[derive(Clone, Debug, Default)]
pub struct Mask(Redactor);

impl Mask {
    /// A text without secrets.
    pub fn text(&self, text: &str) -> String {
        self.0.text(text)
    }

    /// Takes the secrets out of every text in a value.
    pub fn value(&self, value: &mut Value) {
        self.0.value(value);
    }

    /// Headers fit to be shown: those that carry credentials have no value.
    pub fn header(&self, name: &str, value: &str) -> String {
        let lower = name.to_ascii_lowercase();
        let carries = [
            "authorization",
            "cookie",
            "api-key",
            "apikey",
            "token",
            "signature",
            "secret",
            "x-sentry-auth",
        ];
        if carries.iter().any(|word| lower.contains(word)) {
            MASK.to_owned()
        } else {
            self.text(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name_or_by_look() {
        for (name, value, secret) in [
            ("JWT_SECRET", "hunter22", true),
            ("DATABASE_URL", "postgres://app:pw12@db/x", true),
            ("BUILD", "ab12cd34ef56ab78cd90", true),
            ("PATH", "/usr/bin:/bin", false),
            ("LANG", "en_US.UTF-8", false),
            ("MODE", "production", false),
            ("API_URL", "https://api.example.com/v1", false),
            ("RUSTFLAGS", "-Ctarget-cpu=x86-64-v3", false),
        ] {
            assert_eq!(is_secret(name, value), secret, "{name}");
        }
    }

    #[test]
    fn a_secret_goes_with_its_parts() {
        let env: Environment = [
            ("DATABASE_URL".to_owned(), "postgres://app:s3cr3tpw@db/x".to_owned()),
            ("JWT_SECRET".to_owned(), "abcdefgh12345678ABCDEFGH".to_owned()),
        ]
        .into_iter()
        .collect();
        let mask = env.redactor(&["other-secret".into()]);
        let text = mask.text("pw s3cr3tpw, jwt abcdefgh12345678 and abcdefgh12345678ABCDEFGH; other-secret");
        assert_eq!(text, "pw [redacted], jwt [redacted] and [redacted]; [redacted]");
        assert_eq!(mask.header("X-Api-Key", "k"), MASK);
        assert_eq!(format!("{env:?}"), "Environment(2 variables)");
    }
}
