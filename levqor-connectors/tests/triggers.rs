//! What vendors send: who it is from, when it was signed, and what it says.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor_core::connector::{Connection, Hook, Polled, Received, TriggerEvent};
use levqor_core::error::Result;
use levqor_core::types::Millis;
use serde_json::{Value, json};
use support::contract::{NOW, connector};

const SECRET: &str = "it is a secret of some length";
const URL: &str = "https://shop.example/hooks/in?account=a%2Fb";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, b| {
        let _ = write!(hex, "{b:02x}");
        hex
    })
}

fn mac(algorithm: hmac::Algorithm, message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, SECRET.as_bytes()), message)
        .as_ref()
        .to_vec()
}

fn sha256(message: &[u8]) -> Vec<u8> {
    mac(hmac::HMAC_SHA256, message)
}

fn sha1(message: &[u8]) -> Vec<u8> {
    mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, message)
}

/// A request that a vendor sends.
#[derive(Clone)]
struct Sent {
    vendor: &'static str,
    settings: Value,
    headers: Vec<(String, String)>,
    body: String,
    /// What is expected of it: trigger, id, kind.
    event: (&'static str, &'static str, &'static str),
    /// Whether it says when it was signed.
    timed: bool,
}

/// Every vendor's own way, written once more by what its documentation says.
fn all(now: Millis) -> Vec<Sent> {
    let seconds = (now.0 / 1_000).to_string();
    let millis = now.0.to_string();
    let text = |v: Value| v.to_string();
    let mut out = Vec::new();
    let mut add = |vendor, settings, headers: Vec<(&str, String)>, body: String, event, timed| {
        let headers = headers.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        out.push(Sent {
            vendor,
            settings,
            headers,
            body,
            event,
            timed,
        });
    };
    let plain = json!({"webhook_secret": ["an old secret", SECRET]});

    let body = text(
        json!({"id": "evt_1", "type": "invoice.paid", "created": 1_772_366_400, "data": {"object": {"id": "in_1"}}, "livemode": true, "object": "event"}),
    );
    let tag = hex(&sha256(format!("{seconds}.{body}").as_bytes()));
    let header = format!("t={seconds},v1={},v1={tag},v0=00", hex(&[7; 32]));
    add(
        "stripe",
        plain.clone(),
        vec![("Stripe-Signature", header)],
        body,
        ("stripe.event", "evt_1", "invoice.paid"),
        true,
    );

    let body = text(
        json!({"type": "event_callback", "event_id": "Ev1", "event_time": 1_772_366_400, "team_id": "T1", "event": {"type": "app_mention", "text": "hi"}, "token": "legacy"}),
    );
    let tag = hex(&sha256(format!("v0:{seconds}:{body}").as_bytes()));
    let headers = vec![
        ("X-Slack-Request-Timestamp", seconds.clone()),
        ("X-Slack-Signature", format!("v0={tag}")),
    ];
    add(
        "slack",
        json!({"signing_secret": SECRET}),
        headers,
        body,
        ("slack.event", "Ev1", "app_mention"),
        true,
    );

    let body = text(json!({"update_id": 7, "message": {"message_id": 1, "date": 1_772_366_400, "text": "hi"}}));
    let headers = vec![("X-Telegram-Bot-Api-Secret-Token", SECRET.to_owned())];
    add(
        "telegram",
        plain.clone(),
        headers,
        body,
        ("telegram.update", "7", "message"),
        false,
    );

    let body = text(
        json!({"action": "opened", "issue": {"number": 1}, "repository": {"full_name": "a/b"}, "sender": {"login": "jane"}}),
    );
    let headers = vec![
        ("X-GitHub-Event", "issues".to_owned()),
        ("X-GitHub-Delivery", "d-1".to_owned()),
        ("X-Hub-Signature-256", format!("sha256={}", hex(&sha256(body.as_bytes())))),
    ];
    add(
        "github",
        plain.clone(),
        headers,
        body,
        ("github.event", "d-1", "issues.opened"),
        false,
    );

    let body = text(json!({"id": 1, "name": "#1001"}));
    let headers = vec![
        ("X-Shopify-Topic", "orders/create".to_owned()),
        ("X-Shopify-Shop-Domain", "acme.myshopify.com".to_owned()),
        ("X-Shopify-Event-Id", "e-1".to_owned()),
        ("X-Shopify-Hmac-SHA256", STANDARD.encode(sha256(body.as_bytes()))),
    ];
    add(
        "shopify",
        plain.clone(),
        headers,
        body,
        ("shopify.event", "e-1", "orders/create"),
        false,
    );

    let body = text(
        json!([{"eventId": 9, "subscriptionId": 3, "subscriptionType": "contact.creation", "objectId": 501, "occurredAt": now.0, "portalId": 1, "appId": 2}]),
    );
    let signed = format!("POST{}{body}{millis}", URL.replace("%2F", "/"));
    let headers = vec![
        ("X-HubSpot-Request-Timestamp", millis.clone()),
        ("X-HubSpot-Signature-v3", STANDARD.encode(sha256(signed.as_bytes()))),
    ];
    add(
        "hubspot",
        json!({"client_secret": SECRET}),
        headers,
        body,
        ("hubspot.change", "9-3", "contact.creation"),
        true,
    );

    let body = text(
        json!({"type": "notification_event", "id": "notif_1", "topic": "contact.created", "app_id": "a", "created_at": 1_772_366_400, "data": {"item": {"id": "1"}}}),
    );
    let headers = vec![("X-Hub-Signature", format!("sha1={}", hex(&sha1(body.as_bytes()))))];
    add(
        "intercom",
        plain.clone(),
        headers,
        body,
        ("intercom.event", "notif_1", "contact.created"),
        false,
    );

    let body = "To=%2B491&From=%2B492&Body=Hi+there&MessageSid=SM1&SmsStatus=received&NumMedia=0&AccountSid=AC1".to_owned();
    let signed = format!("{URL}AccountSidAC1BodyHi thereFrom+492MessageSidSM1NumMedia0SmsStatusreceivedTo+491");
    let headers = vec![("X-Twilio-Signature", STANDARD.encode(sha1(signed.as_bytes())))];
    add(
        "twilio",
        json!({"auth_token": SECRET}),
        headers,
        body,
        ("twilio.message", "SM1-received", "received"),
        false,
    );

    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let body = text(
        json!({"id": "i-1", "application_id": "a", "type": 2, "token": "t", "guild_id": "g", "data": {"name": "hello"}, "version": 1}),
    );
    let tag = hex(pair.sign(format!("{seconds}{body}").as_bytes()).as_ref());
    let headers = vec![("X-Signature-Ed25519", tag), ("X-Signature-Timestamp", seconds.clone())];
    let public = json!({"public_key": hex(pair.public_key().as_ref())});
    add("discord", public, headers, body, ("discord.interaction", "i-1", "2"), true);

    let body = text(
        json!({"event": {"id": "01", "event_type": "incident.triggered", "resource_type": "incident", "occurred_at": "2026-03-01T12:00:00Z", "data": {"id": "P1"}}}),
    );
    let headers = vec![(
        "X-PagerDuty-Signature",
        format!("v1={},v1={}", hex(&[7; 32]), hex(&sha256(body.as_bytes()))),
    )];
    add(
        "pagerduty",
        plain.clone(),
        headers,
        body,
        ("pagerduty.event", "01", "incident.triggered"),
        false,
    );

    let body = text(
        json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "1"}, "messages": [{"from": "49151", "id": "wamid.1", "timestamp": "1772366400", "type": "text", "text": {"body": "hi"}}]}}]}]}),
    );
    let headers = vec![("X-Hub-Signature-256", format!("sha256={}", hex(&sha256(body.as_bytes()))))];
    add(
        "whatsapp",
        json!({"app_secret": SECRET}),
        headers,
        body,
        ("whatsapp.message", "wamid.1", "text"),
        false,
    );

    let body = text(
        json!({"action": "created", "installation": {"uuid": "u"}, "actor": {"type": "user"}, "data": {"issue": {"id": "1"}}}),
    );
    let headers = vec![
        ("Sentry-Hook-Resource", "issue".to_owned()),
        ("Sentry-Hook-Timestamp", seconds.clone()),
        ("Request-ID", "r-1".to_owned()),
        ("Sentry-Hook-Signature", hex(&sha256(body.as_bytes()))),
    ];
    add(
        "sentry",
        plain.clone(),
        headers,
        body,
        ("sentry.event", "r-1", "issue.created"),
        false,
    );

    let body = text(
        json!({"action": "create", "type": "Issue", "createdAt": "2026-03-01T12:00:00Z", "data": {"id": "1"}, "webhookTimestamp": now.0, "webhookId": "w"}),
    );
    let headers = vec![
        ("Linear-Delivery", "d-1".to_owned()),
        ("Linear-Signature", hex(&sha256(body.as_bytes()))),
    ];
    add(
        "linear",
        plain.clone(),
        headers,
        body,
        ("linear.change", "d-1", "Issue.create"),
        true,
    );

    let body = text(json!({"action": {"id": "a-1", "type": "createCard"}, "model": {"id": "b"}}));
    let headers = vec![("X-Trello-Webhook", STANDARD.encode(sha1(format!("{body}{URL}").as_bytes())))];
    add(
        "trello",
        plain.clone(),
        headers,
        body,
        ("trello.action", "a-1", "createCard"),
        false,
    );

    let body = text(json!({"webhookEvent": "jira:issue_created", "timestamp": now.0, "issue": {"id": "1", "key": "OPS-1"}}));
    let headers = vec![
        ("X-Atlassian-Webhook-Identifier", "j-1".to_owned()),
        ("X-Hub-Signature", format!("sha256={}", hex(&sha256(body.as_bytes())))),
    ];
    add(
        "jira",
        plain.clone(),
        headers,
        body,
        ("jira.event", "j-1", "jira:issue_created"),
        false,
    );

    let body = text(
        json!({"id": "n-1", "type": "page.created", "timestamp": "2026-03-01T12:00:00Z", "entity": {"id": "p", "type": "page"}, "data": {}}),
    );
    let headers = vec![("X-Notion-Signature", format!("sha256={}", hex(&sha256(body.as_bytes()))))];
    add(
        "notion",
        json!({"verification_token": SECRET}),
        headers,
        body,
        ("notion.event", "n-1", "page.created"),
        false,
    );

    let key = [5_u8; 24];
    let body = text(json!({"type": "email.delivered", "created_at": "2026-03-01T12:00:00Z", "data": {"email_id": "e"}}));
    let signed = format!("msg_1.{seconds}.{body}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    let headers = vec![
        ("svix-id", "msg_1".to_owned()),
        ("svix-timestamp", seconds),
        ("svix-signature", format!("v1,{}", STANDARD.encode(tag))),
    ];
    let whsec = json!({"webhook_secret": format!("whsec_{}", STANDARD.encode(key))});
    add(
        "resend",
        whsec,
        headers,
        body,
        ("resend.event", "msg_1", "email.delivered"),
        true,
    );
    out
}

fn receive(sent: &Sent, now: Millis) -> Result<Received> {
    asked(sent, "POST", URL, now)
}

fn asked(sent: &Sent, method: &str, url: &str, now: Millis) -> Result<Received> {
    let connection = Connection::new("main", sent.settings.clone());
    let c = connector(sent.vendor);
    c.triggers().unwrap().receive(&Hook {
        method,
        url,
        headers: &sent.headers,
        body: sent.body.as_bytes(),
        now,
        connection: &connection,
    })
}

fn events(received: Received) -> Vec<TriggerEvent> {
    match received {
        Received::Events(events) => events,
        answer @ Received::Answer { .. } => panic!("{answer:?}"),
    }
}

#[test]
fn what_a_vendor_signed_is_taken_and_typed() {
    let all = all(NOW);
    assert!(all.len() >= 17);
    for sent in all {
        let found = events(receive(&sent, NOW).unwrap_or_else(|e| panic!("{}: {e:?}", sent.vendor)));
        let [event] = &found[..] else {
            panic!("{}: {found:?}", sent.vendor);
        };
        let (trigger, id, kind) = sent.event;
        assert_eq!(
            (event.trigger.as_str(), event.id.as_str(), event.kind.as_str()),
            (trigger, id, kind)
        );
        let c = connector(sent.vendor);
        let name = trigger.split_once('.').unwrap().1;
        let about = c.manifest().triggers.iter().find(|t| t.name == name).unwrap();
        let known = about.event["properties"].as_object().unwrap();
        for (field, _) in event.data.as_object().unwrap() {
            assert!(known.contains_key(field), "{trigger}: {field} is not in its schema");
        }
    }
}

#[test]
fn nothing_that_was_changed_on_the_way_is_taken() {
    for sent in all(NOW) {
        let refused = |sent: &Sent, about: &str| {
            let e = receive(sent, NOW).expect_err(about);
            assert_eq!(e.kind().name(), "denied", "{} {about}: {e:?}", sent.vendor);
            let shown = format!("{e:?}{e}");
            assert!(!shown.contains(SECRET), "{shown}");
        };
        let mut other = sent.clone();
        other.body = sent.body.replacen('1', "2", 1);
        if sent.vendor != "telegram" {
            refused(&other, "another body");
        }
        let mut other = sent.clone();
        for (_, value) in &mut other.settings.as_object_mut().unwrap().iter_mut() {
            *value = match sent.vendor {
                "discord" => hex(&[9; 32]).into(),
                "resend" => format!("whsec_{}", STANDARD.encode([9; 24])).into(),
                _ => "another secret".into(),
            };
        }
        refused(&other, "another secret");
        let mut other = sent.clone();
        other
            .headers
            .retain(|(name, _)| !name.to_lowercase().contains("signature") && !name.to_lowercase().contains("hmac"));
        other
            .headers
            .retain(|(name, _)| !["X-Telegram-Bot-Api-Secret-Token", "X-Trello-Webhook"].contains(&name.as_str()));
        refused(&other, "no signature");
        let mut other = sent.clone();
        other.settings = json!({});
        let e = receive(&other, NOW).unwrap_err();
        assert_eq!(
            e.kind().name(),
            "config",
            "{}: without a secret everything is refused: {e:?}",
            sent.vendor
        );
    }
}

#[test]
fn what_was_signed_at_another_time_is_refused() {
    let mut timed = 0;
    for sent in all(NOW) {
        for (later, code) in [(6, "webhook.too_old"), (-6, "webhook.from_the_future")] {
            let received = receive(&sent, NOW + Millis::mins(later));
            if sent.timed {
                assert_eq!(received.unwrap_err().code(), code, "{}", sent.vendor);
                timed += 1;
            } else {
                received.unwrap();
            }
        }
        receive(&sent, NOW + Millis::secs(50)).unwrap();
    }
    assert!(timed >= 12, "{timed}");
}

#[test]
fn questions_are_answered_and_no_events() {
    let all = all(NOW);
    let of = |vendor: &str| all.iter().find(|s| s.vendor == vendor).unwrap().clone();
    let answer = |received: Received| match received {
        Received::Answer { status, body, .. } => (status, body),
        Received::Events(events) => panic!("{events:?}"),
    };

    let mut slack = of("slack");
    slack.body = json!({"type": "url_verification", "challenge": "3eZbrw1aB"}).to_string();
    let at = (NOW.0 / 1_000).to_string();
    slack.headers[1].1 = format!("v0={}", hex(&sha256(format!("v0:{at}:{}", slack.body).as_bytes())));
    assert_eq!(answer(receive(&slack, NOW).unwrap()), (200, "3eZbrw1aB".into()));
    slack.headers[1].1 = format!("v0={}", hex(&[7; 32]));
    assert_eq!(receive(&slack, NOW).unwrap_err().code(), "webhook.signature_invalid");

    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let mut discord = of("discord");
    discord.body = json!({"id": "i", "application_id": "a", "type": 1, "token": "t", "version": 1}).to_string();
    discord.headers[0].1 = hex(pair.sign(format!("{at}{}", discord.body).as_bytes()).as_ref());
    assert_eq!(answer(receive(&discord, NOW).unwrap()), (200, r#"{"type":1}"#.into()));

    let mut whatsapp = of("whatsapp");
    whatsapp.settings["verify_token"] = "a word".into();
    whatsapp.body = String::new();
    let ask = |word: &str| format!("{URL}&hub.mode=subscribe&hub.challenge=115&hub.verify_token={word}");
    assert_eq!(
        answer(asked(&whatsapp, "GET", &ask("a+word"), NOW).unwrap()),
        (200, "115".into())
    );
    let e = asked(&whatsapp, "GET", &ask("another"), NOW).unwrap_err();
    assert_eq!(e.kind().name(), "denied");

    let mut github = of("github");
    github.headers[0].1 = "ping".into();
    assert_eq!(receive(&github, NOW).unwrap(), Received::Events(vec![]));
}

#[test]
fn twilio_signs_bodies_that_are_no_forms_by_their_sum() {
    let body = r#"{"MessageSid": "SM1"}"#;
    let url = format!(
        "https://shop.example/in?bodySHA256={}",
        hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref())
    );
    let mut sent = all(NOW).into_iter().find(|s| s.vendor == "twilio").unwrap();
    sent.headers[0].1 = STANDARD.encode(sha1(url.replace("shop.example", "shop.example:443").as_bytes()));
    body.clone_into(&mut sent.body);
    // It is genuine; that it is no form of a message is another matter.
    assert_eq!(asked(&sent, "POST", &url, NOW).unwrap_err().code(), "webhook.body_invalid");
    sent.body.push(' ');
    assert_eq!(
        asked(&sent, "POST", &url, NOW).unwrap_err().code(),
        "webhook.signature_invalid"
    );
}

fn poll(vendor: &str, trigger: &str, cursor: Option<&Value>, output: &Value) -> Polled {
    connector(vendor).triggers().unwrap().read(trigger, cursor, output).unwrap()
}

fn ids(polled: &Polled) -> Vec<&str> {
    polled.events.iter().map(|e| e.id.as_str()).collect()
}

#[test]
fn rows_that_are_added_are_told_once() {
    let page = |rows: &[&str]| json!({"values": rows.iter().map(|r| json!([r])).collect::<Vec<_>>()});
    let first = poll("google_sheets", "new_rows", None, &page(&["head", "a"]));
    assert!(first.events.is_empty());
    let second = poll(
        "google_sheets",
        "new_rows",
        Some(&first.cursor),
        &page(&["head", "a", "b", "c"]),
    );
    let rows: Vec<&Value> = second.events.iter().map(|e| &e.data).collect();
    assert_eq!(
        rows,
        [&json!({"row": 3, "values": ["b"]}), &json!({"row": 4, "values": ["c"]})]
    );
    let third = poll("google_sheets", "new_rows", Some(&second.cursor), &page(&["head", "a"]));
    assert!(third.events.is_empty(), "rows that go are not told");
    let fourth = poll(
        "google_sheets",
        "new_rows",
        Some(&third.cursor),
        &page(&["head", "a", "other"]),
    );
    assert_ne!(
        ids(&fourth)[0],
        ids(&second)[0],
        "another row in the same place is another event"
    );
}

#[test]
fn mails_are_told_once_and_oldest_first() {
    let page = |ids: &[&str]| json!({"messages": ids.iter().map(|id| json!({"id": id, "threadId": "t"})).collect::<Vec<_>>()});
    let first = poll("gmail", "new_messages", None, &page(&["b", "a"]));
    assert!(first.events.is_empty());
    let second = poll("gmail", "new_messages", Some(&first.cursor), &page(&["d", "c", "b", "a"]));
    assert_eq!(ids(&second), ["c", "d"]);
    let third = poll("gmail", "new_messages", Some(&second.cursor), &page(&["c", "a"]));
    assert!(third.events.is_empty(), "what was told is not told again when another goes");
}

#[test]
fn polls_ask_for_what_changed_since() {
    let ask = |vendor: &str, trigger: &str, input: Value, cursor: Option<&Value>| {
        connector(vendor).triggers().unwrap().ask(trigger, &input, cursor).unwrap()
    };
    let cursor = json!({"at": "2026-03-01T12:00:00Z", "ids": []});
    let first = ask("notion", "changed_pages", json!({"data_source_id": "d"}), None);
    assert_eq!(
        (&first["data_source_id"], &first["sorts"][0]["direction"]),
        (&json!("d"), &json!("descending"))
    );
    let next = ask("notion", "changed_pages", json!({"data_source_id": "d"}), Some(&cursor));
    assert_eq!(next["filter"]["last_edited_time"]["on_or_after"], "2026-03-01T12:00:00Z");
    let q = ask("google_drive", "changed_files", json!({"folder": "it's"}), Some(&cursor));
    assert_eq!(
        q["q"],
        r"trashed = false and 'it\'s' in parents and modifiedTime >= '2026-03-01T12:00:00Z'"
    );
    let mail = ask("outlook", "new_messages", json!({}), Some(&cursor));
    assert_eq!(mail["filter"], "receivedDateTime ge 2026-03-01T12:00:00Z");
    let e = connector("notion")
        .triggers()
        .unwrap()
        .ask("nope", &json!({}), None)
        .unwrap_err();
    assert_eq!(e.code(), "trigger.unknown");
    assert!(connector("mailchimp").triggers().is_none());

    // What is asked fits the action's own schema.
    for (vendor, trigger, input, seen) in [
        ("notion", "changed_pages", json!({"data_source_id": "d"}), Some(&cursor)),
        ("google_drive", "changed_files", json!({}), Some(&cursor)),
        ("gmail", "new_messages", json!({"q": "is:unread"}), None),
        (
            "google_sheets",
            "new_rows",
            json!({"spreadsheetId": "s", "range": "A:D"}),
            None,
        ),
        ("outlook", "new_messages", json!({}), Some(&cursor)),
    ] {
        let c = connector(vendor);
        let about = c.manifest().triggers.iter().find(|t| t.name == trigger).unwrap();
        let known = c.manifest().action(&about.action).unwrap().input["properties"].clone();
        for (field, _) in ask(vendor, trigger, input, seen).as_object().unwrap() {
            assert!(known.get(field).is_some(), "{vendor}.{trigger}: {field}");
        }
    }
}
