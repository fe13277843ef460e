//! The command line, as a process: what it answers, how it ends, and what it says when something is wrong.
#![allow(clippy::unwrap_used)]

mod keys;
mod schedules;
mod work;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// A folder of its own, removed at the end, with a store in it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("levqor-cli-{}", levqor::types::JobId::new(levqor::types::Millis(0)));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Place(folder)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.join(name), text).unwrap();
        name.to_owned()
    }

    fn json(&self, name: &str, value: &Value) -> String {
        self.file(name, value.to_string())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_levqor"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        for variable in ["LEVQOR_URL", "LEVQOR_CONNECTIONS", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args).output().unwrap())
    }

    fn fed(&self, args: &[&str], input: impl AsRef<[u8]>) -> Said {
        let mut command = self.command(args);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_ref()).unwrap();
        Said::of(&child.wait_with_output().unwrap())
    }

    /// The answer of a command that has to work.
    fn ok(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        let said = self.run(&args);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}: {}", said.out);
        said.document()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Standard output as exactly one JSON document.
    fn document(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {:?}", self.out))
    }

    /// Standard error as exactly one problem document.
    fn problem(&self) -> Value {
        serde_json::from_str(&self.err).unwrap_or_else(|e| panic!("{e}: {:?}", self.err))
    }
}

fn pipeline() -> Value {
    json!({
        "version": 1, "name": "greet", "credits": {"hold": "10", "base": "1.5"},
        "input_schema": {"type": "object", "properties": {"names": {"type": "array"}}, "required": ["names"]},
        "steps": [
            {"id": "each", "for_each": {"in": {"$ref": "input.names"}, "as": "n"}, "set": {"hello": {"$ref": "n"}}},
            {"id": "pause", "wait": {"duration": "20ms"}},
            {"id": "sum", "set": {"count": {"$count": {"$ref": "steps.each.output"}}}}
        ],
        "output": {"n": {"$ref": "steps.sum.output.count"}}
    })
}

/// Steps enough, each journaled by itself, that a worker is still at it when its first line has been read.
fn long_pipeline() -> Value {
    let steps: Vec<Value> = (0..200)
        // Refused at once, without a connection: no step may call this machine.
        .map(|i| json!({"id": format!("s{i}"), "action": "http.request", "input": {"url": "http://127.0.0.1/"}, "on_error": "continue"}))
        .collect();
    json!({"version": 1, "name": "long", "steps": steps})
}

#[test]
fn credits_are_granted_once_under_a_key_and_every_booking_is_told() {
    let p = Place::new();
    let grant = ["credits", "grant", "acme", "25.5", "--key", "g1"];
    let first = p.ok(&grant);
    assert_eq!(
        (&first["amount"], &first["balance"]["available"]),
        (&json!("25.5"), &json!("25.5"))
    );
    assert_eq!(p.ok(&grant)["grant"], first["grant"]);
    p.ok(&["credits", "grant", "acme", "4.5", "--promo", "--expires", "30d"]);
    assert_eq!(p.ok(&["credits", "balance", "acme"])["balance"]["posted"], "30");
    assert_eq!(p.ok(&["credits", "balance", "nobody"])["balance"]["posted"], "0");

    let lines = p.ok(&["credits", "statement", "acme"]);
    let seen: Vec<_> = lines["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (&l["version"], &l["after"]))
        .collect();
    assert_eq!(seen, [(&json!(1), &json!("25.5")), (&json!(2), &json!("30"))]);
    let page = p.ok(&["credits", "statement", "acme", "--limit", "1"]);
    assert_eq!((page["lines"].as_array().unwrap().len(), &page["next"]), (1, &json!(1)));
    let rest = p.ok(&["credits", "statement", "acme", "--after", "1"]);
    assert_eq!(rest["lines"][0]["amount"], "4.5");
    assert_eq!(
        p.ok(&["credits", "statement", "acme", "--to", "2001-01-01T00:00:00Z"])["lines"],
        json!([])
    );
    let audit = p.ok(&["credits", "audit"]);
    assert_eq!((&audit["sound"], &audit["sum"]), (&json!(true), &json!(0)));

    let human = p.run(&["credits", "statement", "acme"]);
    assert!(human.out.contains("BALANCE") && human.out.contains("25.5"), "{}", human.out);
    assert!(
        !human.out.contains('\u{1b}'),
        "colour goes to terminals only: {:?}",
        human.out
    );
}

#[test]
fn credits_are_spent_held_given_back_and_moved() {
    let p = Place::new();
    let grant = [
        "credits",
        "grant",
        "acme",
        "100",
        "--expires",
        "30d",
        "--paid",
        "1000EUR",
        "--source",
        "in_1",
        "--key",
        "g",
    ];
    let pack = p.ok(&grant)["grant"].clone();
    assert_eq!(p.ok(&grant)["grant"], pack, "a span is the same span the next time");
    let id = |v: &Value| v.as_str().unwrap().to_owned();
    let available = |v: &Value| id(&v["balance"]["available"]);

    let spent = p.ok(&["credits", "spend", "acme", "30", "--key", "s"]);
    assert_eq!(available(&spent), "70");
    let back = p.ok(&["credits", "refund", &id(&spent["transaction"]), "--amount", "10"]);
    assert_eq!((available(&back), &back["refund_of"]), ("80".into(), &spent["transaction"]));

    let hold = id(&p.ok(&["credits", "hold", "acme", "50", "--expires", "15m"])["hold"]);
    assert_eq!(
        p.ok(&["credits", "capture", &hold, "--amount", "5", "--partial"])["balance"]["held"],
        "45"
    );
    assert_eq!(p.ok(&["credits", "extend", &hold, "30m"])["amount"], "45");
    assert_eq!(
        available(&p.ok(&["credits", "capture", &hold, "--amount", "47", "--overage"])),
        "28"
    );
    let hold = id(&p.ok(&["credits", "hold", "acme", "8"])["hold"]);
    assert_eq!(available(&p.ok(&["credits", "release", &hold])), "28");

    assert_eq!(available(&p.ok(&["credits", "transfer", "acme", "bob", "8"])), "20");
    assert_eq!(available(&p.ok(&["credits", "clawback", &id(&pack), "250EUR"])), "-5");
    assert_eq!(p.ok(&["credits", "overdraft", "acme", "6"])["balance"]["spendable"], "1");
    p.ok(&["credits", "freeze", "bob"]);
    let frozen = p.run(&["credits", "spend", "bob", "1", "--json"]);
    assert_eq!((frozen.code, &frozen.problem()["code"]), (4, &json!("ledger.account_frozen")));
    p.ok(&["credits", "freeze", "bob", "--off"]);
    assert_eq!(available(&p.ok(&["credits", "spend", "bob", "1"])), "7");

    let grants = p.ok(&["credits", "grants", "acme", "--all"]);
    assert_eq!(
        (&grants["grants"][0]["id"], &grants["grants"][0]["remaining"]),
        (&pack, &json!("0"))
    );
    assert_eq!(p.ok(&["credits", "grants", "bob"])["grants"][0]["remaining"], "7");
    let kinds = p.ok(&["credits", "statement", "acme"]);
    let kinds: Vec<_> = kinds["lines"].as_array().unwrap().iter().map(|l| id(&l["kind"])).collect();
    assert_eq!(
        kinds,
        ["grant", "spend", "refund", "capture", "capture", "transfer", "clawback"]
    );
    assert_eq!(p.ok(&["credits", "audit"])["sound"], true);
    let human = p.run(&["credits", "hold", "bob", "2"]);
    assert!(
        human.out.starts_with("held 2 (hold_") && human.out.contains("available now: 5"),
        "{}",
        human.out
    );
}

#[test]
fn tenants_do_not_see_each_other_and_the_url_may_come_from_the_environment() {
    let p = Place::new();
    p.ok(&["credits", "grant", "acme", "7", "--tenant", "one"]);
    assert_eq!(
        p.ok(&["--tenant", "two", "credits", "balance", "acme"])["balance"]["posted"],
        "0"
    );
    let mut other = p.command(&["credits", "grant", "acme", "1", "--json"]);
    let said = Said::of(&other.env("LEVQOR_URL", "sqlite://elsewhere.db").output().unwrap());
    assert_eq!(said.document()["balance"]["posted"], "1");
    assert!(p.0.join("elsewhere.db").exists());
}

#[test]
fn a_run_is_worked_to_its_end_and_told_on_a_receipt() {
    let p = Place::new();
    let file = p.json("p.json", &pipeline());
    let input = json!({"names": ["ann", "bob", "cy"]}).to_string();
    let args = [
        "run",
        &file,
        "--input",
        "-",
        "--account",
        "acme",
        "--key",
        "k1",
        "--grant",
        "100",
    ];
    let human = p.fed(&args, &input);
    assert_eq!((human.code, human.err.as_str()), (0, ""), "{}", human.out);
    for word in [
        "STEP",
        "ATTEMPTS",
        "pause",
        "10 held, 1.5 captured, 8.5 released",
        r#"{"n":3}"#,
    ] {
        assert!(human.out.contains(word), "no `{word}` in {}", human.out);
    }
    // The same again is the same run, and no second grant.
    let mut args = args.to_vec();
    args.push("--json");
    let again = p.fed(&args, &input).document();
    assert_eq!((&again["replayed"], &again["run"]["state"]), (&json!(true), &json!("done")));
    assert_eq!((&again["held"], &again["released"]), (&json!("10"), &json!("8.5")));
    let id = again["run"]["id"].as_str().unwrap();
    assert!(human.out.contains(id));
    assert_eq!(p.ok(&["credits", "balance", "acme"])["balance"]["available"], "98.5");
    assert_eq!(p.ok(&["status", id])["run"]["result"], json!({"n": 3}));
    assert_eq!(p.ok(&["status", id, "--wait", "1s"])["run"]["result"], json!({"n": 3}));
    let jobs = p.ok(&["jobs", "list", "--account", "acme", "--state", "done"]);
    assert_eq!((&jobs["jobs"][0]["id"], &jobs["jobs"][1]), (&json!(id), &Value::Null));
    // Another input under the same key is refused.
    let other = p.fed(&args, r#"{"names": []}"#);
    assert_eq!((other.code, &other.problem()["code"]), (4, &json!("idempotency.mismatch")));
}

#[test]
fn a_run_that_dies_is_a_dead_letter_that_can_be_called_off_and_brought_back() {
    let p = Place::new();
    let file = p.json(
        "p.json",
        &json!({"version": 1, "name": "dies", "steps": [{"id": "bad", "wait": {"until": {"$ref": "input.when"}}}]}),
    );
    let input = p.json("i.json", &json!({"when": "never"}));
    let said = p.run(&["run", &file, "--input", &input, "--json"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let (document, problem) = (said.document(), said.problem());
    let id = document["run"]["id"].as_str().unwrap();
    assert_eq!((&document["run"]["state"], &problem["run"]), (&json!("dead"), &json!(id)));
    assert_eq!(problem["code"], "pipeline.type_mismatch");

    let dead = p.ok(&["jobs", "dead"]);
    assert_eq!(
        (&dead["jobs"][0]["id"], &dead["jobs"][0]["error"]["code"]),
        (&json!(id), &problem["code"])
    );
    assert!(p.run(&["jobs", "dead"]).out.contains("gives no instant"));
    assert_eq!(p.run(&["status", id]).code, 0, "looking at a dead run works");
    assert_eq!(
        p.run(&["status", id, "--wait", "1s"]).code,
        1,
        "waiting for its good end does not"
    );

    assert_eq!(p.ok(&["jobs", "redrive", id])["state"], "ready");
    assert_eq!(p.ok(&["queues", "pause", "default"])["paused"], true);
    assert_eq!(
        p.ok(&["queues", "limit", "default", "--per-key", "2", "--rate", "5/second"])["limits"]["per_key"],
        2
    );
    let list = p.ok(&["queues", "list"]);
    assert_eq!(
        (&list["queues"][0]["paused"], &list["queues"][0]["ready"]),
        (&json!(true), &json!(1))
    );
    assert!(p.run(&["queues", "list"]).out.contains("rate 5/s"));
    assert_eq!(p.ok(&["queues", "resume", "default"])["paused"], false);
    assert_eq!(
        p.ok(&["jobs", "signal", id, "go", "--payload", "{\"by\": 1}"])["state"],
        "ready"
    );
    assert_eq!(
        p.ok(&["jobs", "redrive", "--all", "--queue", "default"])["redriven"],
        json!([])
    );
    let late = p.run(&["status", id, "--wait", "1ms", "--json"]);
    assert_eq!((late.code, &late.problem()["code"]), (1, &json!("run.not_ended")));
    assert_eq!(p.ok(&["jobs", "cancel", id])["state"], "cancelled");
    let human = p.run(&["status", id]);
    assert!(human.out.contains("cancelled"), "{}", human.out);
}

#[test]
fn a_registered_pipeline_is_submitted_by_its_name() {
    let p = Place::new();
    let file = p.json("p.json", &pipeline());
    let input = p.json("i.json", &json!({"names": []}));
    let unknown = p.run(&["submit", "@greet", "--input", &input]);
    assert_eq!(unknown.code, 3, "{}", unknown.err);
    assert_eq!(p.ok(&["pipeline", "register", &file])["name"], "greet");
    p.ok(&["credits", "grant", "default", "10"]);
    let run = p.ok(&["run", "@greet", "--input", &input]);
    assert_eq!(run["run"]["result"], json!({"n": 0}));
}

#[test]
fn limits_are_tried_out_with_verdicts_and_headers() {
    let p = Place::new();
    let args = ["limits", "try", "60/minute burst 10", "--key", "k", "--times", "12"];
    let human = p.run(&args);
    assert_eq!(human.code, 4, "{}", human.err);
    for word in ["1 .. 10", "11 .. 12", "RateLimit-Policy: \"try\";q=60;w=60", "Retry-After: 1"] {
        assert!(human.out.contains(word), "no `{word}` in {}", human.out);
    }
    let args = [
        "limits",
        "try",
        "60/minute burst 10",
        "--key",
        "other",
        "--times",
        "12",
        "--json",
    ];
    let document = p.run(&args).document();
    assert_eq!((&document["admitted"], &document["refused"]), (&json!(10), &json!(2)));
    assert_eq!(document["calls"][11]["headers"]["X-RateLimit-Remaining"], "0");
    assert_eq!(p.ok(&["limits", "try", "2/s", "--key", "k"])["refused"], 0);
    // The store keeps what was used from one command to the next.
    for refused in [0, 3] {
        let args = ["limits", "try", "3/day", "--key", "k", "--times", "3", "--json"];
        assert_eq!(p.run(&args).document()["refused"], refused);
    }
}

#[test]
fn a_pipeline_is_checked_with_every_fault_at_its_pointer_and_without_a_store() {
    let p = Place::new();
    let good = p.json("good.json", &pipeline());
    assert_eq!(p.ok(&["pipeline", "check", &good])["steps"], json!(["each", "pause", "sum"]));
    let bad = json!({"version": 1, "name": "x", "steps": [
        {"id": "a", "set": {"$ref": "steps.b.output"}}, {"id": "b", "action": "nowhere.go", "input": {}}
    ]});
    let said = p.fed(&["pipeline", "check", "-"], bad.to_string());
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    let lines: Vec<&str> = said.err.lines().collect();
    assert!(lines[0].starts_with("error: the pipeline has 2 faults"), "{}", said.err);
    assert!(lines[1].starts_with("  at: /steps/0/set"), "{}", said.err);
    assert!(lines[2].starts_with("  at: /steps/1/action: "), "{}", said.err);
    let said = p.fed(&["pipeline", "check", "-", "--json"], bad.to_string());
    assert_eq!(said.problem()["errors"].as_array().unwrap().len(), 2);
    assert!(!p.0.join("levqor.db").exists(), "checking needs no store");
}

#[test]
fn bad_input_of_every_kind_ends_with_its_code_and_says_what_and_where() {
    let p = Place::new();
    let good = p.json("good.json", &pipeline());
    let input = p.json("i.json", &json!({"names": []}));
    let wrong_input = p.json("w.json", &json!({"names": 1}));
    let syntax = p.file("syntax.json", "{\"version\": 1,\n }");
    let binary = p.file("binary.json", b"\"\xff\"");
    let deep = p.file("deep.json", "[".repeat(100_000));
    let large = p.file("large.json", format!("\"{}\"", "x".repeat(1 << 20)));
    let connections = p.json(
        "c.json",
        &json!({"mail": {"password": {"$env": "LEVQOR_TEST_UNSET"}, "user": "top-s3cret"}}),
    );
    let absent = "run_0000000000000000000000000a";
    let cases: &[(&[&str], i32, &str, &str)] = &[
        (&["nonsense"], 2, "cli.usage", "nonsense"),
        (&["run"], 2, "cli.usage", "<PIPELINE>"),
        (&["jobs", "list", "--limit", "x"], 2, "cli.usage", "--limit"),
        (&["worker", "--lease", "5"], 2, "cli.usage", "unit"),
        (&["worker", "--lease", "1s"], 2, "worker.short_lease", "2s"),
        (&["run", "absent.json"], 2, "cli.unreadable_file", "pipeline"),
        (&["run", "-", "--input", "-"], 2, "cli.stdin_twice", "standard input"),
        (&["run", &syntax], 2, "json.syntax", "not JSON"),
        (&["run", &binary], 2, "json.invalid_utf8", "UTF-8"),
        (&["run", &deep], 2, "json.too_deep", "deeper"),
        (&["run", &large], 2, "body.too_large", "bytes"),
        (&["run", &good, "--input", &large], 2, "body.too_large", "the input"),
        (&["run", &good, "--input", &wrong_input], 2, "run.input_invalid", "names"),
        (
            &["run", &good, "--input", &wrong_input, "--grant", "5"],
            2,
            "run.input_invalid",
            "names",
        ),
        (&["run", &good, "--input", &input], 4, "ledger.insufficient_credits", "credit"),
        (&["run", &good, "--grant", "many"], 2, "amount.invalid", "many"),
        (
            &["run", &good, "--connections", &connections],
            2,
            "connections.missing_variable",
            "LEVQOR_TEST_UNSET",
        ),
        (&["status", "42"], 2, "id.invalid", "42"),
        (&["status", absent], 3, "jobs.unknown", absent),
        (&["jobs", "cancel", absent], 3, "jobs.unknown", absent),
        (&["jobs", "redrive", absent], 3, "jobs.unknown", absent),
        (&["jobs", "signal", absent, "go"], 3, "jobs.unknown", absent),
        (
            &["jobs", "signal", absent, "go", "--payload", "{"],
            2,
            "cli.bad_json",
            "--payload",
        ),
        (&["queues", "limit", "q", "--running", "0"], 2, "jobs.bad_limit", "pause"),
        (&["jobs", "list", "--after", absent], 3, "jobs.unknown", absent),
        (&["jobs", "list", "--state", "sleepy"], 2, "cli.bad_state", "sleepy"),
        (&["credits", "grant", "acme", "-5"], 2, "", ""),
        (&["credits", "grant", "acme", "1e3"], 2, "amount.invalid", "1e3"),
        (&["credits", "spend", "acme", "1"], 4, "ledger.insufficient_credits", "credit"),
        (&["credits", "spend", "acme", "-1"], 2, "ledger.invalid_amount", "-1"),
        (&["credits", "release", "42"], 2, "id.invalid", "42"),
        (
            &["credits", "capture", "hold_00000000000000000000000000"],
            3,
            "ledger.hold_not_found",
            "hold_0",
        ),
        (
            &["credits", "refund", "txn_00000000000000000000000000"],
            3,
            "ledger.transaction_not_found",
            "txn_0",
        ),
        (
            &["credits", "grant", "acme", "1", "--paid", "much"],
            2,
            "cli.bad_money",
            "much",
        ),
        (
            &["credits", "grant", "acme", "1", "--expires", "soon"],
            2,
            "cli.bad_instant",
            "soon",
        ),
        (
            &["credits", "statement", "acme", "--from", "soon"],
            2,
            "cli.bad_instant",
            "soon",
        ),
        (&["limits", "try", "60/minut", "--key", "k"], 2, "", "minut"),
        (&["connectors", "nowhere"], 3, "connector.unknown", "nowhere"),
        (&["call", "nowhere.go"], 3, "connector.unknown", "nowhere"),
        (&["call", "files.raed"], 3, "connector.unknown_action", "files.read"),
        (
            &["call", "files.read", "--input", "none.json"],
            2,
            "cli.unreadable_file",
            "none.json",
        ),
        (
            &["call", "files.read", "--connection", "none"],
            2,
            "connection.unknown",
            "none",
        ),
        (&["call", "files.read"], 2, "connector.input_invalid", "path"),
        (&["migrate", "--url", "ftp://x"], 2, "store.bad_url", "scheme"),
        (&["migrate", "--tenant", "a b"], 2, "tenant.invalid", "tenant"),
    ];
    for (args, code, name, word) in cases {
        let human = p.run(args);
        assert_eq!((human.code, human.out.as_str()), (*code, ""), "{args:?}: {}", human.err);
        assert!(
            human.err.starts_with("error: ") && human.err.contains(word),
            "{args:?}: {}",
            human.err
        );
        let mut args = args.to_vec();
        args.push("--json");
        let said = p.run(&args);
        assert_eq!((said.code, said.out.as_str()), (*code, ""), "{args:?}: {}", said.err);
        let problem = said.problem();
        assert!(name.is_empty() || problem["code"] == *name, "{args:?}: {problem}");
        assert!(!human.err.contains("s3cret") && !said.err.contains("s3cret"), "{args:?}");
    }
    // Nothing of all that was granted or enqueued.
    assert_eq!(p.ok(&["jobs", "list"])["jobs"], json!([]));
    assert_eq!(p.ok(&["credits", "balance", "default"])["balance"]["posted"], "0");
}

#[test]
fn the_doctor_says_on_off_or_broken_of_everything() {
    let p = Place::new();
    let document = p.ok(&["doctor"]);
    let state = |document: &Value, name: &str| {
        let list = document["findings"].as_array().unwrap();
        let found = list.iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        found["state"].as_str().unwrap().to_owned()
    };
    for name in ["store", "schema", "write and read back", "clock", "feature sqlite"] {
        assert_eq!(state(&document, name), "on", "{name}");
    }
    assert_eq!(state(&document, "connections"), "off");
    assert!(["on", "degraded"].contains(&state(&document, "disk").as_str()));
    let left: Vec<_> = std::fs::read_dir(&p.0).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(left.iter().all(|f| f.to_str().unwrap().starts_with("levqor.db")), "{left:?}");

    let file = p.file("not-a-database.db", "x".repeat(8192));
    let url = format!("sqlite://{file}");
    let said = p.run(&["doctor", "--url", &url, "--connections", "absent.json", "--json"]);
    assert_eq!(said.code, 1);
    let document = said.document();
    assert_eq!(
        (&document["ok"], state(&document, "store")),
        (&json!(false), "broken".to_owned())
    );
    assert_eq!(state(&document, "connections"), "broken");
    assert_eq!(p.run(&["doctor", "--url", "memory://"]).code, 0);
}

#[test]
fn an_action_is_called_and_its_failure_is_the_commands() {
    let p = Place::new();
    let root = p.0.join("root");
    std::fs::create_dir(&root).unwrap();
    let connections = p.json("c.json", &json!({"here": {"root": root}}));
    let args = |action: &'static str| {
        [
            "call",
            action,
            "--input",
            "-",
            "--connection",
            "here",
            "--connections",
            connections.as_str(),
        ]
    };
    let said = p.fed(&args("files.write"), r#"{"path": "a.txt", "text": "hi\u001b[2J"}"#);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert_eq!(std::fs::read_to_string(root.join("a.txt")).unwrap(), "hi\u{1b}[2J");
    let said = p.fed(&args("files.read"), r#"{"path": "a.txt"}"#);
    assert!(
        said.out.contains("\\u001b[2J") && !said.out.contains('\u{1b}'),
        "{}",
        said.out
    );
    let mut json = args("files.read").to_vec();
    json.push("--json");
    let document = p.fed(&json, r#"{"path": "a.txt"}"#).document();
    assert_eq!((&document["output"]["size"], &document["attempts"]), (&json!(6), &json!(1)));
    for (input, code, word) in [
        (r#"{"path": "none.txt"}"#, 3, "none.txt"),
        (r#"{"path": "../c.json"}"#, 4, "outside"),
        (r#"{"pth": "a.txt"}"#, 2, "pth"),
        ("{", 2, "the input"),
    ] {
        let said = p.fed(&args("files.read"), input);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{input}: {}", said.err);
        assert!(said.err.contains(word), "{input}: {}", said.err);
    }
    let listed = p.ok(&["connectors", "files"])["connectors"][0].clone();
    assert_eq!(listed["settings"][0]["name"], "root");
}

#[test]
fn migrating_and_listing_connectors_answer_in_both_forms() {
    let p = Place::new();
    assert_eq!(p.ok(&["migrate"])["kind"], "sqlite");
    assert!(p.run(&["migrate"]).out.contains("up to date"));
    assert!(p.ok(&["connectors"])["connectors"].is_array());
    assert_eq!(p.run(&["connectors"]).code, 0);
    let help = p.run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.contains("Exit codes:") && help.out.contains("70 "), "{}", help.out);
    assert_eq!(p.run(&["--version"]).out, format!("levqor {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn colour_is_for_terminals_and_can_be_turned_off() {
    let p = Place::new();
    let coloured = |args: &[&str], variables: &[(&str, &str)]| {
        let said = Said::of(&p.command(args).envs(variables.iter().copied()).output().unwrap());
        assert_eq!(said.code, 2, "{}", said.err);
        said.err.contains('\u{1b}')
    };
    let force = ("CLICOLOR_FORCE", "1");
    for args in [&["status", "42"][..], &["nonsense"]] {
        assert!(!coloured(args, &[]), "{args:?}: not a terminal");
        assert!(coloured(args, &[force]), "{args:?}");
        assert!(!coloured(args, &[force, ("NO_COLOR", "1")]), "{args:?}");
        assert!(!coloured(&[args, &["--no-color"]].concat(), &[force]), "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let p = Place::new();
    for args in [
        &["--help"][..],
        &[
            "limits", "try", "1/s", "--key", "k", "--cost", "0", "--times", "5000", "--json",
        ],
    ] {
        let mut child = p.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = Said::of(&child.wait_with_output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_told() {
    let p = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let said = Said::of(&p.command(&["connectors"]).stdout(full).output().unwrap());
    assert_eq!(said.code, 5, "{}", said.err);
    assert!(said.err.starts_with("error: the answer cannot be written"), "{}", said.err);
}
