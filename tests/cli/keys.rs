//! API keys from the command line.

use serde_json::json;

use crate::Place;

#[test]
fn a_key_is_made_shown_once_replaced_and_revoked() {
    let p = Place::new();
    let made = p.ok(&[
        "keys",
        "create",
        "ci",
        "--account",
        "acme",
        "--scope",
        "runs:*",
        "--limit",
        "60/minute",
        "--expires",
        "90d",
    ]);
    let (id, text) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!((&made["state"], &made["scopes"]), (&json!("active"), &json!(["runs:*"])));
    let verify = |text: &str, scope: &str| p.fed(&["keys", "verify", "--scope", scope, "--json"], format!("{text}\n"));
    let said = verify(text, "runs:write");
    assert_eq!((said.code, &said.document()["account"]), (0, &json!("acme")), "{}", said.err);
    let said = verify(text, "ops");
    assert_eq!((said.code, &said.problem()["code"]), (4, &json!("key.scope_missing")));
    let typo = verify(&text.replace("lvq_", "lvx_"), "ops");
    assert_eq!((typo.code, &typo.problem()["status"]), (4, &json!(401)));
    assert!(!typo.err.contains(&text[40..]));

    let next = p.ok(&["keys", "rotate", id]);
    assert_eq!((&next["id"], &next["rotated_at"].is_i64()), (&json!(id), &true));
    assert_eq!(verify(text, "runs:write").problem()["code"], "key.expired");
    let listed = p.run(&["keys", "list", "--account", "acme"]);
    assert!(
        listed.out.contains(id) && !listed.out.contains("lvq_") && !listed.out.contains("never"),
        "{}",
        listed.out
    );

    p.ok(&["keys", "revoke", id]);
    let said = verify(next["key"].as_str().unwrap(), "runs:write");
    assert_eq!(said.problem()["code"], "key.revoked");
    assert_eq!(p.ok(&["keys", "list"])["keys"], json!([]));
    assert_eq!(p.ok(&["keys", "list", "--all"])["keys"][0]["state"], "revoked");
}

#[test]
fn a_key_is_shown_alone_so_that_scripts_can_keep_it() {
    let p = Place::new();
    let said = p.run(&["keys", "create", "ci"]);
    assert!(said.out.starts_with("lvq_") && said.out.lines().count() == 1, "{}", said.out);
    assert!(said.err.contains("cannot be shown again"));
    let wrong = p.run(&["keys", "create", "ci", "--limit", "often", "--json"]);
    assert_eq!((wrong.code, &wrong.problem()["at"]), (2, &json!("/limit")));
    assert_eq!(p.run(&["keys", "revoke", "key_x"]).code, 2);
    assert_eq!(p.run(&["keys", "revoke", "key_01k00000000000000000000000"]).code, 3);
}
