//! Packs say what is wrong with them, all of it, with its path.
#![allow(clippy::unwrap_used)]

use levqor_integrity::{Format, Pack};

fn faults(text: &str, format: Format) -> Vec<(String, String, String)> {
    let e = Pack::parse(text, format).unwrap_err();
    e.fault_list()
        .iter()
        .map(|f| (f.at.clone(), f.code.clone(), f.message.clone()))
        .collect()
}

#[test]
fn every_fault_has_its_path_and_a_suggestion() {
    let text = r#"
version = 1
sytem = "Shop"
include = ["integrity", "finaliser"]
[targets]
api = "api.example.com"
[run]
deadline = "soon"
per_host = 0
[check."http.health.main"]
statsu = 200
target = "apo"
json = { "/n" = { mni = 1 } }
[check."http.helth"]
path = "/x"
[check.mine]
uses = "htpp"
[check."env.jwt_secret"]
format = "secert"
[[waiver]]
check = "http.health.mian"
reason = "x"
owner = ""
expires = "2026-02-30"
"#;
    let found = faults(text, Format::Toml);
    let has = |at: &str, code: &str, part: &str| {
        let hit = found.iter().any(|(a, c, m)| a == at && c == code && m.contains(part));
        assert!(hit, "{at} {code} {part}\n{found:#?}");
    };
    has("/sytem", "pack.unknown_key", "did you mean `system`?");
    has("/include", "pack.unknown_check", "did you mean `finalizer`?");
    has("/targets/api", "pack.bad_url", "https://");
    has("/run/deadline", "pack.bad_value", "soon");
    has("/run/per_host", "pack.wrong_type", "from 1");
    has("/check/http.health.main/statsu", "pack.unknown_key", "did you mean `status`?");
    has("/check/http.health.main/target", "pack.unknown_target", "did you mean `api`?");
    has("/check/http.health.main/json", "pack.bad_value", "did you mean `min`?");
    has("/check/http.helth", "pack.unknown_check", "`http.helth`");
    has("/check/mine/uses", "pack.unknown_kind", "did you mean `http`?");
    has("/check/env.jwt_secret/format", "pack.bad_value", "did you mean `secret`?");
    has("/waiver/0/check", "pack.unknown_check", "did you mean `http.health.main`?");
    has("/waiver/0/owner", "pack.missing", "responsibility");
    has("/waiver/0/expires", "pack.bad_value", "2026-02-30");
}

#[test]
fn toml_yaml_and_json_mean_the_same() {
    let toml = "version = 1\nsystem = \"Shop\"\n[targets]\napi = \"https://a.example\"\n[check.\"shop.cart\"]\nuses = \"http\"\npath = \"/cart\"\nrequires = [\"http.health.main\"]\n";
    let yaml = "version: 1\nsystem: Shop\ntargets:\n  api: https://a.example\ncheck:\n  shop.cart:\n    uses: http\n    path: /cart\n    requires: [http.health.main]\n";
    let json = r#"{"version": 1, "system": "Shop", "targets": {"api": "https://a.example"},
        "check": {"shop.cart": {"uses": "http", "path": "/cart", "requires": ["http.health.main"]}}}"#;
    for (text, format) in [(toml, Format::Toml), (yaml, Format::Yaml), (json, Format::Json)] {
        let pack = Pack::parse(text, format).unwrap();
        assert_eq!(
            (pack.checks.len(), pack.system.as_str(), pack.excluded.len()),
            (23, "Shop", 10),
            "{format:?}"
        );
        assert_eq!(pack.checks[22].check.id(), "shop.cart");
        assert_eq!(pack.checks[22].requires, ["http.health.main"]);
    }
    for (text, format) in [
        ("a = [", Format::Toml),
        ("a: [", Format::Yaml),
        ("{", Format::Json),
        ("1", Format::Json),
        ("- a", Format::Yaml),
    ] {
        let e = Pack::parse(text, format).unwrap_err();
        assert!(["pack.syntax", "json.syntax"].contains(&e.code()), "{e:?}");
    }
    let e = Pack::parse("version = 1\nx = \n", Format::Toml).unwrap_err();
    assert_eq!(e.place(), Some("line 2, column 5"));
}

#[test]
fn checks_are_selected_by_id_group_or_beginning() {
    let pack = || Pack::parse("version = 1\n", Format::Toml).unwrap();
    for (wanted, n) in [(&["env.*"][..], 8), (&["http.health.main", "db.*"], 4), (&["finalizer"], 12)] {
        let mut pack = pack();
        pack.select(&wanted.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
            .unwrap();
        assert_eq!(pack.checks.len(), n, "{wanted:?}");
        assert_eq!(pack.excluded.len(), 32 - n);
    }
    let e = pack().select(&["http.health.mian".to_owned()]).unwrap_err();
    assert!(e.message().contains("did you mean `http.health.main`?"), "{e}");
    let left_out = Pack::parse(
        "version = 1\n[check.\"stripe.api\"]\nexclude = \"no payments here\"\n",
        Format::Toml,
    )
    .unwrap();
    assert_eq!(left_out.checks.len(), 21);
    assert!(left_out.excluded.contains(&("stripe.api".into(), "no payments here".into())));
}
