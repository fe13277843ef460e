//! `env.*`: a secret in the environment is there, and is what it has to be. No value, nor a part of one, nor its hash, is
//! ever shown.

use async_trait::async_trait;
use url::Url;

use crate::check::{Check, CheckCx};
use crate::environment::secret_by_name;
use crate::outcome::{Finding, Outcome};
use crate::pack::Reader;

/// What a variable has to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Secret,
    StripeKey,
    StripeWebhook,
    ResendKey,
    SentryDsn,
    SlackWebhook,
    TelegramToken,
    Any,
}

const FORMS: &[(&str, Form)] = &[
    ("secret", Form::Secret),
    ("stripe_key", Form::StripeKey),
    ("stripe_webhook", Form::StripeWebhook),
    ("resend_key", Form::ResendKey),
    ("sentry_dsn", Form::SentryDsn),
    ("slack_webhook", Form::SlackWebhook),
    ("telegram_token", Form::TelegramToken),
    ("any", Form::Any),
];
const FORM_NAMES: &[&str] = &[
    "secret",
    "stripe_key",
    "stripe_webhook",
    "resend_key",
    "sentry_dsn",
    "slack_webhook",
    "telegram_token",
    "any",
];

/// Variables that are compared with each other, in the order in which the first of two equal ones is the good one.
const KNOWN: &[&str] = &[
    "JWT_SECRET",
    "SESSION_SECRET",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "RESEND_API_KEY",
    "SENTRY_DSN",
    "SLACK_WEBHOOK_URL",
    "TELEGRAM_BOT_TOKEN",
];

/// Texts that stand for a secret that nobody has put in.
const PLACEHOLDERS: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "change me",
    "changethis",
    "change-this",
    "change_this",
    "placeholder",
    "example",
    "your-",
    "your_",
    "yoursecret",
    "fixme",
    "secret-key",
    "secret_key",
    "secretkey",
    "mysecret",
    "my-secret",
    "my_secret",
    "supersecret",
    "super-secret",
    "super_secret",
    "insecure",
    "default",
    "dummy",
    "sample",
    "replace",
    "insert",
    "password",
    "passw0rd",
    "12345678",
    "abcdefgh",
    "qwerty",
    "letmein",
    "notset",
    "not-set",
    "undefined",
    "test-secret",
    "test_secret",
    "dev-secret",
    "dev_secret",
];
/// A value that begins so was never filled in.
const UNFILLED: &[&str] = &["<", "$", "{{", "xxxx", "XXXX", "todo", "TODO", "..."];

pub(super) struct EnvVar {
    id: String,
    variable: String,
    form: Form,
    optional: bool,
    min_length: usize,
    /// Bits of a character, times 100; below it the value repeats itself too much.
    min_bits: i64,
}

impl EnvVar {
    pub(super) fn new(id: String, r: &Reader<'_>) -> Self {
        let variable = r.text("variable").unwrap_or_default();
        if variable.is_empty() {
            r.fault("variable", "pack.missing", "`variable` names the environment variable");
        }
        let form = r.choice("format", FORM_NAMES, "any");
        let form = FORMS.iter().find(|(n, _)| *n == form).map_or(Form::Any, |(_, f)| *f);
        EnvVar {
            id,
            variable,
            form,
            optional: r.bool_or("optional", false),
            min_length: usize::try_from(r.int_or("min_length", 1..=4096, 32)).unwrap_or(32),
            min_bits: r.int_or("min_centibits", 0..=800, 300),
        }
    }

    fn bad(&self, cause: &str, message: &str, expected: &str, actual: &str, hint: &str) -> Finding {
        Finding::fail(cause, format!("{} {message}", self.variable))
            .expected(expected)
            .actual(actual)
            .at(self.variable.as_str())
            .hint(hint)
    }

    /// The first thing that is wrong with how it is written, whatever it is for.
    fn spelling(&self, value: &str) -> Option<Finding> {
        let quoted = value.len() >= 2
            && [('"', '"'), ('\'', '\''), ('`', '`')]
                .iter()
                .any(|(a, b)| value.starts_with(*a) && value.ends_with(*b));
        if value.trim().is_empty() {
            return Some(self.bad(
                "env.blank",
                "holds nothing but blanks",
                "a value",
                "blanks",
                "put the secret in",
            ));
        }
        if quoted {
            let hint = "the quotes became a part of the value; .env files and Docker differ in that";
            return Some(self.bad("env.quoted", "stands in quotes", "the bare value", "a value in quotes", hint));
        }
        if value.trim() != value {
            let hint = "a line end or blank was copied along";
            return Some(self.bad(
                "env.whitespace",
                "begins or ends with a blank",
                "no blanks around it",
                "blanks around it",
                hint,
            ));
        }
        if value.chars().any(char::is_control) {
            let hint = "set it anew, without line ends in it";
            return Some(self.bad(
                "env.control",
                "holds control characters",
                "visible characters",
                "control characters",
                hint,
            ));
        }
        if self.form != Form::Any && value.contains(char::is_whitespace) {
            return Some(self.bad(
                "env.whitespace",
                "holds a blank",
                "no blanks in it",
                "a blank within",
                "was something else copied along?",
            ));
        }
        let lower = value.to_ascii_lowercase();
        // In a key with a fixed beginning, only what comes behind it counts.
        let random = match self.form {
            Form::StripeKey => lower.splitn(3, '_').last().unwrap_or_default(),
            Form::StripeWebhook | Form::ResendKey => lower.split_once('_').map_or(lower.as_str(), |(_, rest)| rest),
            _ => &lower,
        };
        let stands_for = UNFILLED.iter().any(|p| value.starts_with(p) || random.starts_with(p))
            || match self.form {
                Form::Any => false,
                Form::Secret | Form::StripeKey | Form::StripeWebhook | Form::ResendKey => {
                    PLACEHOLDERS.iter().any(|p| random.contains(p)) || (random.len() >= 4 && random.chars().all(|c| c == 'x'))
                }
                _ => ["changeme", "placeholder", "your-", "your_"]
                    .iter()
                    .any(|p| lower.contains(p)),
            };
        if stands_for {
            let hint = "nobody put the real one in; everybody knows this one";
            return Some(self.bad(
                "env.placeholder",
                "holds a placeholder",
                "a real secret",
                "a placeholder",
                hint,
            ));
        }
        None
    }

    fn strength(&self, value: &str) -> Option<Finding> {
        let length = value.chars().count();
        if length < self.min_length {
            let (expected, actual) = (
                format!("at least {} characters", self.min_length),
                format!("{length} characters"),
            );
            let hint = "make one with: openssl rand -base64 48";
            return Some(self.bad("env.too_short", "is too short", &expected, &actual, hint));
        }
        if centibits(value) < self.min_bits || periodic(value) {
            let hint = "make one with: openssl rand -base64 48";
            return Some(self.bad(
                "env.low_entropy",
                "is easy to guess: it repeats itself",
                "random characters",
                "few different ones, or a pattern",
                hint,
            ));
        }
        None
    }

    fn form(&self, value: &str, live: bool) -> Option<Finding> {
        let hint_copy = "copy it anew from the vendor's page";
        let malformed = |what: &str| {
            Some(self.bad(
                "env.malformed",
                &format!("is no {what}"),
                &format!("the form of a {what}"),
                "another form",
                hint_copy,
            ))
        };
        match self.form {
            Form::Any => None,
            Form::Secret => self.strength(value),
            Form::StripeKey => {
                let mut parts = value.splitn(3, '_');
                let (kind, mode, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
                match (kind, mode) {
                    (Some("pk"), _) => Some(self.bad(
                        "env.wrong_kind",
                        "holds a publishable key",
                        "a secret or restricted key",
                        "a publishable key",
                        "publishable keys are for browsers; take the secret one",
                    )),
                    (Some("whsec"), _) => Some(self.bad(
                        "env.wrong_kind",
                        "holds a webhook secret",
                        "a secret or restricted key",
                        "a webhook secret",
                        "the two variables were mixed up",
                    )),
                    (Some("sk" | "rk"), Some(mode @ ("live" | "test"))) if word(rest, 16, "") => {
                        let wanted = if live { "live" } else { "test" };
                        (mode != wanted).then(|| {
                            self.bad(
                                "env.wrong_mode",
                                &format!("holds a {mode} key in a {} environment", if live { "live" } else { "test" }),
                                &format!("a {wanted} key"),
                                &format!("a {mode} key"),
                                if live {
                                    "no real payment can be taken with it"
                                } else {
                                    "tests would charge real cards"
                                },
                            )
                        })
                    }
                    _ => malformed("Stripe secret key"),
                }
            }
            Form::StripeWebhook => match value.strip_prefix("whsec_") {
                Some(rest) if word(rest, 24, "+/=-_") => None,
                _ if value.starts_with("sk_") || value.starts_with("we_") => Some(self.bad(
                    "env.wrong_kind",
                    "holds something else of Stripe",
                    "a webhook signing secret",
                    "an API key or an endpoint's id",
                    "the signing secret stands on the webhook's own page",
                )),
                _ => malformed("Stripe webhook signing secret"),
            },
            Form::ResendKey => match value.strip_prefix("re_") {
                Some(rest) if word(rest, 16, "_-") => None,
                _ => malformed("Resend API key"),
            },
            Form::TelegramToken => {
                let good = value.split_once(':').is_some_and(|(bot, rest)| {
                    (6..=12).contains(&bot.len()) && bot.bytes().all(|b| b.is_ascii_digit()) && word(rest, 30, "_-")
                });
                if good { None } else { malformed("Telegram bot token") }
            }
            Form::SentryDsn => dsn(value).err().map(|why| {
                self.bad(
                    "env.malformed",
                    &format!("is no Sentry DSN: {why}"),
                    "an address with a public key and a project number",
                    &why,
                    hint_copy,
                )
            }),
            Form::SlackWebhook => slack(value).err().map(|why| {
                self.bad(
                    "env.malformed",
                    &format!("is no Slack webhook: {why}"),
                    "the address of an incoming webhook",
                    &why,
                    hint_copy,
                )
            }),
        }
    }

    /// The name of a variable that holds the same and counts as the first of the two.
    fn reused<'a>(&self, value: &str, cx: &'a CheckCx) -> Option<&'a str> {
        let own = KNOWN.iter().position(|k| *k == self.variable);
        let before = |name: &str| match (own, KNOWN.iter().position(|k| *k == name)) {
            (Some(own), Some(other)) => other < own,
            (None, other) => other.is_some() || name < self.variable.as_str(),
            // Another program's name for the same key is reported by secrets.reuse.
            (Some(_), None) => false,
        };
        cx.env()
            .iter()
            .find(|(name, other)| *name != self.variable && *other == value && secret_by_name(name) && before(name))
            .map(|(name, _)| name)
    }
}

/// Letters, digits and some others, at least so many.
fn word(text: &str, least: usize, others: &str) -> bool {
    text.len() >= least && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Shannon's entropy of the characters, in hundredths of a bit.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "lengths are small, and so is the result"
)]
fn centibits(value: &str) -> i64 {
    let mut counts = std::collections::BTreeMap::new();
    for c in value.chars() {
        *counts.entry(c).or_insert(0u32) += 1;
    }
    let n = value.chars().count() as f64;
    let bits: f64 = counts
        .values()
        .map(|k| {
            let p = f64::from(*k) / n;
            -p * p.log2()
        })
        .sum();
    (bits * 100.0).round() as i64
}

/// A short text over and over, or characters that count up.
fn periodic(value: &str) -> bool {
    let bytes = value.as_bytes();
    let repeats = (1..=bytes.len() / 3).any(|p| bytes.iter().zip(&bytes[p..]).all(|(a, b)| a == b));
    let steps = bytes.windows(2).filter(|w| i16::from(w[1]) - i16::from(w[0]) == 1).count();
    repeats || steps * 4 > bytes.len() * 3
}

/// What Sentry's own libraries ask of a DSN: scheme, public key, host, and a project number at the end of the path.
pub(super) fn dsn(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "it is no address".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("its scheme is not http or https".into());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it names no host".into());
    }
    if url.username().is_empty() {
        return Err("it holds no public key".into());
    }
    let project = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if project.is_empty() || !project.bytes().all(|b| b.is_ascii_digit()) {
        return Err("it ends in no project number".into());
    }
    Ok(url)
}

fn slack(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|_| "it is no address".to_owned())?;
    if url.scheme() != "https" {
        return Err("its scheme is not https".into());
    }
    if !matches!(url.host_str(), Some("hooks.slack.com" | "hooks.slack-gov.com")) {
        return Err("its host is not Slack's for webhooks".into());
    }
    let parts: Vec<&str> = url.path_segments().into_iter().flatten().filter(|p| !p.is_empty()).collect();
    match parts.as_slice() {
        ["services", team, app, key] if team.starts_with('T') && app.starts_with('B') && word(key, 16, "") => Ok(()),
        ["workflows" | "triggers", rest @ ..] if rest.len() >= 2 => Ok(()),
        _ => Err("its path is not that of a webhook".into()),
    }
}

#[async_trait]
impl Check for EnvVar {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, cx: &CheckCx) -> Outcome {
        let value = cx.env().get(&self.variable);
        let Some(value) = value.filter(|v| !v.is_empty()) else {
            let how = if value.is_some() { "set, but empty" } else { "not set" };
            if self.optional {
                return Outcome::skip(format!("{} is {how}; it is optional", self.variable));
            }
            let cause = if value.is_some() { "env.empty" } else { "env.missing" };
            let hint = "set it where the program is started, and where this run is started";
            return self.bad(cause, &format!("is {how}"), "a value", how, hint).into();
        };
        let finding = self.spelling(value).or_else(|| self.form(value, cx.live())).or_else(|| {
            self.reused(value, cx).map(|other| {
                let hint = "give each purpose a secret of its own; one that leaks opens both doors";
                self.bad(
                    "env.reused",
                    &format!("holds the same as {other}"),
                    "a secret of its own",
                    &format!("equal to {other}"),
                    hint,
                )
            })
        });
        match finding {
            Some(finding) => finding.into(),
            None => Outcome::new(format!("{} is set and well formed", self.variable)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_seen_and_random_words_are_not() {
        for bad in [
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabcabcabcabcabcabc",
            "0123456789:;<=>?@ABCDEFGHIJKLMNO",
        ] {
            assert!(centibits(bad) < 300 || periodic(bad), "{bad}");
        }
        for good in [
            "f3b1c9d07a5e4826b9c1d2e3f4a5968778695a4b3c2d1e0f",
            "kJ8s+2dLq0VxYt7uWm4nBz1cRf6hGp3e",
        ] {
            assert!(centibits(good) >= 300 && !periodic(good), "{good}");
        }
    }

    #[test]
    fn a_dsn_is_what_sentry_takes() {
        for (text, good) in [
            ("https://abc@o1.ingest.sentry.io/42", true),
            ("https://abc:def@sentry.example.com/prefix/42", true),
            ("http://abc@127.0.0.1:9000/1", true),
            ("0123456789abcdef0123456789abcdef", false),
            ("https://o1.ingest.sentry.io/42", false),
            ("https://abc@o1.ingest.sentry.io/", false),
            ("https://abc@o1.ingest.sentry.io/web", false),
            ("ftp://abc@o1.ingest.sentry.io/42", false),
        ] {
            assert_eq!(dsn(text).is_ok(), good, "{text}");
        }
    }
}
