//! The page `docs/connectors.md` is made of the manifests; `LEVQOR_BLESS=1` writes it anew.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use levqor_core::connector::{Action, AuthKind, Budget, Idempotency, Manifest, Registry, SideEffect, TriggerKind};
use serde_json::Value;

/// Which feature brings a connector.
fn feature(name: &str) -> &'static str {
    match name {
        "http" | "webhook" => "http",
        "email" => "email",
        "anthropic" | "openai" => "ai",
        "hubspot" | "shopify" | "stripe" => "commerce",
        "datadog" | "github" | "pagerduty" | "sentry" => "developer",
        "discord" | "intercom" | "mailchimp" | "resend" | "sendgrid" | "slack" | "telegram" | "twilio" | "whatsapp" => {
            "messaging"
        }
        "onedrive" | "outlook" | "teams" => "microsoft",
        "dropbox" | "files" | "s3" => "storage",
        "sql" => "sql",
        "asana" | "jira" | "linear" | "notion" | "trello" => "workspace",
        name if name == "gmail" || name.starts_with("google_") => "google",
        other => panic!("say which feature brings `{other}`"),
    }
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A field's type, in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(any) = schema["anyOf"].as_array() {
        let mut words: Vec<String> = any.iter().map(kind).filter(|k| k != "null").collect();
        words.dedup();
        return words.join(" or ");
    }
    match &schema["type"] {
        Value::String(word) if word == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(word) => word.clone(),
        Value::Array(words) => {
            let words = words.iter().filter_map(Value::as_str).filter(|w| *w != "null");
            let words: Vec<String> = words
                .map(|w| {
                    if w == "array" {
                        format!("list of {}", kind(&schema["items"]))
                    } else {
                        w.to_owned()
                    }
                })
                .collect();
            words.join(" or ")
        }
        _ if schema.get("enum").is_some() => "text".to_owned(),
        _ => "any".to_owned(),
    }
}

/// The fields that a schema describes.
fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn fields(out: &mut String, schema: &Value) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(properties) = schema["properties"].as_object().filter(|p| !p.is_empty()) else {
        out.push_str("It takes nothing.\n");
        return;
    };
    out.push_str("| field | type | meaning |\n|---|---|---|\n");
    for (name, field) in properties {
        let star = if required.contains(&name.as_str()) { "**" } else { "" };
        let about = field["description"].as_str().unwrap_or_default();
        writeln!(out, "| {star}`{name}`{star} | {} | {} |", cell(&kind(field)), cell(about)).unwrap();
    }
}

fn effect(action: &Action) -> &'static str {
    match action.side_effect {
        SideEffect::Read => "reads",
        SideEffect::Write => "writes",
        SideEffect::Destructive => "cannot be undone",
    }
}

fn repeatable(action: &Action) -> &'static str {
    match action.idempotency {
        Idempotency::Natural => "does no harm",
        Idempotency::Key => "carries a key",
        Idempotency::Input => "depends on the input",
        Idempotency::None => "would do it twice",
    }
}

fn limit(budget: &Budget) -> String {
    let seconds = budget.per.0 / 1_000;
    let per = match seconds {
        1 => "second".to_owned(),
        60 => "minute".to_owned(),
        3_600 => "hour".to_owned(),
        n => format!("{n} s"),
    };
    format!("{} calls a {per}", budget.calls)
}

fn page(manifests: &[&Manifest]) -> String {
    let mut out = String::from(
        "# Connectors\n\n<!-- Made of the connectors' manifests by levqor-connectors/tests/docs.rs; run its test with \
         LEVQOR_BLESS=1 after a change. -->\n\nWhat pipelines can call. `levqor connectors NAME --json` has the schemas in \
         full, `levqor call NAME.ACTION --input FILE --connection NAME` calls one. A connection is a set of settings under \
         a name; secrets stand in it as `{\"$env\": \"VARIABLE\"}`. Fields in bold must be given. A lost answer is asked for \
         again where that does no harm or the request carries a key that the vendor knows.\n\n",
    );
    let actions: usize = manifests.iter().map(|m| m.actions.len()).sum();
    writeln!(out, "{} connectors, {actions} actions.\n", manifests.len()).unwrap();
    out.push_str("| connector | what | feature | actions |\n|---|---|---|---|\n");
    for m in manifests {
        let n = m.actions.len();
        writeln!(
            out,
            "| [`{0}`](#{0}) | {1} | `{2}` | {n} |",
            m.name,
            cell(&m.description),
            feature(&m.name)
        )
        .unwrap();
    }
    for m in manifests {
        writeln!(
            out,
            "\n## {}\n\n{} Documentation: <{}>",
            m.name,
            m.description,
            m.docs.as_deref().unwrap()
        )
        .unwrap();
        if !m.settings.is_empty() {
            out.push_str("\n| setting of the connection | meaning |\n|---|---|\n");
            for s in &m.settings {
                writeln!(out, "| `{}` | {} |", s.name, cell(&s.description)).unwrap();
            }
        }
        let auth: Vec<&str> = m
            .auth
            .iter()
            .map(|kind| match kind {
                AuthKind::ApiKey => "a key",
                AuthKind::Bearer => "a bearer token",
                AuthKind::Basic => "user and password",
                AuthKind::Signature => "a signature",
                AuthKind::OAuth2 => "OAuth 2.0",
            })
            .collect();
        if !auth.is_empty() {
            writeln!(out, "\nCredentials: {}.", auth.join(", ")).unwrap();
        }
        let limits: Vec<String> = m.budgets.iter().map(limit).collect();
        if !limits.is_empty() {
            writeln!(out, "\nKept to, for each connection: {}.", limits.join(", ")).unwrap();
        }
        if !m.triggers.is_empty() {
            out.push_str("\n| trigger | what | how | an event gives |\n|---|---|---|---|\n");
            for t in &m.triggers {
                let how = match t.kind {
                    TriggerKind::Webhook => "a signed request".to_owned(),
                    TriggerKind::Poll => format!("asks with `{}`", t.action),
                };
                let gives: Vec<String> = properties(&t.event).map(|(name, _)| format!("`{name}`")).collect();
                writeln!(
                    out,
                    "| `{}.{}` | {} | {how} | {} |",
                    m.name,
                    t.name,
                    cell(&t.description),
                    gives.join(", ")
                )
                .unwrap();
            }
        }
        for a in &m.actions {
            writeln!(out, "\n### {}.{}\n\n{}\n", m.name, a.name, a.description).unwrap();
            let mut facts = vec![format!("Effect: {}", effect(a)), format!("repeating it {}", repeatable(a))];
            if !a.scopes.is_empty() {
                facts.push(format!("scopes: `{}`", a.scopes.join("`, `")));
            }
            writeln!(out, "{}.\n", facts.join("; ")).unwrap();
            fields(&mut out, &a.input);
            let gives: Vec<String> = properties(&a.output)
                .map(|(name, field)| format!("`{name}` ({})", kind(field)))
                .collect();
            writeln!(out, "\nGives {}.", gives.join(", ")).unwrap();
        }
    }
    out
}

#[test]
fn the_page_of_connectors_is_the_one_of_the_manifests() {
    let mut registry = Registry::new();
    for connector in levqor_connectors::all() {
        registry.add(connector).unwrap();
    }
    let manifests: Vec<&Manifest> = registry.manifests().collect();
    let wanted = page(&manifests);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/connectors.md");
    if std::env::var_os("LEVQOR_BLESS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let shipped = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        shipped == wanted,
        "{path} differs from the manifests; run the tests with LEVQOR_BLESS=1"
    );
}
