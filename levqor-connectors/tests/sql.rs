//! SQL against a real Postgres of this test's own.
#![allow(clippy::unwrap_used)]

mod support;

use levqor_core::connector::Cx;
use levqor_core::error::{Effect, Error, ErrorKind as K};
use levqor_core::testkit::RunningPostgres;
use levqor_core::testkit::services::Service;
use levqor_core::types::Millis;
use serde_json::{Value, json};
use support::contract::connector;
use support::{connected, cx, transport};

fn at(server: &RunningPostgres) -> Cx {
    connected(&cx(transport(&[])), json!({"url": server.url("postgres")}))
}

async fn ok(cx: &Cx, action: &str, sql: &str, params: Value) -> Value {
    connector("sql")
        .call(cx, action, &json!({"sql": sql, "params": params}))
        .await
        .unwrap()
        .data
}

async fn refused(cx: &Cx, action: &str, sql: &str, params: Value) -> Error {
    connector("sql")
        .call(cx, action, &json!({"sql": sql, "params": params}))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn statements_run_and_are_refused_as_they_should() {
    let server = Service::postgres();
    let cx = at(&server);
    let made =
        "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT NOT NULL, price NUMERIC, at TIMESTAMPTZ, tags TEXT[], more JSONB)";
    assert_eq!(
        ok(&cx, "execute", made, json!([])).await,
        json!({"rows_affected": 0, "rows": []})
    );
    let insert = "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6) RETURNING id, price;";
    let values = json!([1, "Ann's", "12.3400", "2026-03-01T12:00:00.123456+01:00", ["a", null, "b,c"], {"k": [1, null]}]);
    let out = ok(&cx, "execute", insert, values).await;
    assert_eq!((&out["rows_affected"], &out["rows"][0]["id"]), (&json!(1), &json!(1)));
    let out = ok(
        &cx,
        "query",
        "SELECT *, price::text AS exact FROM t WHERE id = $1 AND name LIKE $2 -- all",
        json!([1, "Ann%"]),
    )
    .await;
    let row = &out["rows"][0];
    assert_eq!(
        (&row["name"], &row["exact"], &row["tags"], &row["more"], &out["truncated"]),
        (
            &json!("Ann's"),
            &json!("12.3400"),
            &json!(["a", null, "b,c"]),
            &json!({"k": [1, null]}),
            &json!(false)
        )
    );
    assert!(row["at"].as_str().unwrap().contains("11:00:00.123456"), "{row}");
    assert_eq!(row["price"], "12.3400", "all digits of an exact number, and no float");
    let sql = "SELECT 0.1::numeric + 0.2 AS sum, 123456789012345678901234567890.000000001 AS \"a'b\\\"\"c\", \
               ARRAY[1.10, NULL]::numeric[] AS list, NULL::numeric AS none, 'NaN'::numeric AS odd, 1.5::float8 AS float, \
               9007199254740993 AS whole";
    let out = ok(&cx, "query", sql, json!([])).await;
    let wanted = json!({
        "sum": "0.3", "a'b\\\"c": "123456789012345678901234567890.000000001", "list": ["1.10", null], "none": null,
        "odd": "NaN", "float": 1.5, "whole": 9_007_199_254_740_993_i64,
    });
    assert_eq!(out["rows"][0], wanted);
    let e = refused(&cx, "query", "SELECT 1.0 AS a, 2.0 AS a", json!([])).await;
    assert_eq!((e.kind(), e.code()), (K::Invalid, "sql.column_twice"));
    let changed = ok(&cx, "execute", "UPDATE t SET name = 'x'", json!([])).await;
    assert_eq!(changed["rows_affected"], 1);

    let limited = json!({"sql": "SELECT n FROM generate_series(1, 50) n ORDER BY n DESC", "max_rows": 3});
    let out = connector("sql").call(&cx, "query", &limited).await.unwrap().data;
    assert_eq!(
        (&out["rows"], &out["truncated"]),
        (&json!([{"n": 50}, {"n": 49}, {"n": 48}]), &json!(true))
    );

    for (action, sql, params, kind, code) in [
        ("query", "DELETE FROM t RETURNING id", json!([]), K::Denied, "sql.read_only"),
        ("query", "DELETE FROM t", json!([]), K::Invalid, "sql.no_rows"),
        ("query", "SELECT 1; DELETE FROM t", json!([]), K::Invalid, "sql.rejected"),
        (
            "query",
            "SELECT 1) SELECT to_jsonb(x) FROM (SELECT 2) x --",
            json!([]),
            K::Invalid,
            "sql.rejected",
        ),
        (
            "execute",
            "INSERT INTO t VALUES (1, 'again')",
            json!([]),
            K::Conflict,
            "sql.constraint",
        ),
        (
            "execute",
            "INSERT INTO t VALUES (2, NULL)",
            json!([]),
            K::Invalid,
            "sql.constraint",
        ),
        ("execute", "DELETE FROM none", json!([]), K::Invalid, "sql.rejected"),
        (
            "query",
            "SELECT $1::int + $2::int",
            json!([1]),
            K::Invalid,
            "sql.parameter_count",
        ),
        ("query", "SELECT $1::int", json!(["one"]), K::Invalid, "sql.parameter_invalid"),
        (
            "query",
            "SELECT $1::int",
            json!([3_000_000_000_u64]),
            K::Invalid,
            "sql.parameter_invalid",
        ),
        (
            "query",
            "SELECT $1::interval",
            json!(["1 day"]),
            K::Invalid,
            "sql.parameter_type",
        ),
        ("query", "SELECT 1 / $1::int", json!([0]), K::Invalid, "sql.rejected"),
    ] {
        let e = refused(&cx, action, sql, params).await;
        assert_eq!((e.kind(), e.code(), e.effect()), (kind, code, Effect::None), "{sql}: {e:?}");
    }
    assert_eq!(
        ok(&cx, "query", "SELECT $1::text::interval::text AS i", json!(["1 day"])).await["rows"][0]["i"],
        "1 day"
    );
    assert_eq!(
        ok(&cx, "query", "SELECT count(*) AS n FROM t", json!([])).await["rows"][0]["n"],
        1,
        "nothing was changed by a query"
    );

    let mut quick = cx.clone();
    quick.timeout = Millis(300);
    quick.retry.max_attempts = 1;
    let e = refused(&quick, "query", "SELECT pg_sleep(20)", json!([])).await;
    assert_eq!((e.kind(), e.code()), (K::Timeout, "sql.timeout"), "{e:?}");
}

#[tokio::test]
async fn every_type_goes_in_and_comes_out() {
    let server = Service::postgres();
    let cx = at(&server);
    for (kind, value, text) in [
        ("bool", json!(true), "true"),
        ("int2", json!(-32_768), "-32768"),
        ("int4", json!("2147483647"), "2147483647"),
        ("int8", json!(i64::MIN), "-9223372036854775808"),
        ("float8", json!(-0.5), "-0.5"),
        ("float4", json!(1.5), "1.5"),
        ("text", json!(7), "7"),
        ("varchar", json!("ä"), "ä"),
        ("json", json!({"a": 1}), "{\"a\":1}"),
        ("jsonb", json!([1, "x"]), "[1, \"x\"]"),
        (
            "uuid",
            json!("1A2B3C4D-0000-4000-8000-000000000001"),
            "1a2b3c4d-0000-4000-8000-000000000001",
        ),
        ("bytea", json!("/wA="), "\\xff00"),
        ("date", json!("1999-12-31"), "1999-12-31"),
        ("timestamp", json!("2026-03-01 12:00:00.000001"), "2026-03-01 12:00:00.000001"),
        ("int4[]", json!([1, null, 3]), "{1,NULL,3}"),
        ("int4[]", json!([]), "{}"),
        ("numeric", json!("0"), "0"),
        ("numeric", json!("-0.000"), "0.000"),
        ("numeric", json!("1"), "1"),
        ("numeric", json!("10000"), "10000"),
        (
            "numeric",
            json!("12345678901234567890.00000000000000000001"),
            "12345678901234567890.00000000000000000001",
        ),
        ("numeric", json!("-0.00012"), "-0.00012"),
        ("numeric", json!("1e3"), "1000"),
        ("numeric", json!("1.25E-2"), "0.0125"),
        ("numeric", json!(12.5), "12.5"),
        ("text", json!(null), ""),
    ] {
        let sql = format!("SELECT coalesce($1::{kind}::text, '') AS v");
        let out = ok(&cx, "query", &sql, json!([value])).await;
        assert_eq!(out["rows"][0]["v"], text, "{kind} {value}");
    }
    for (kind, value) in [
        ("numeric", json!("1.2.3")),
        ("numeric", json!("abc")),
        ("numeric", json!("")),
        ("uuid", json!("x")),
        ("date", json!("yesterday")),
        ("bool", json!("yes")),
        ("int2", json!(40_000)),
        ("int4[]", json!(["x"])),
    ] {
        let e = refused(&cx, "query", &format!("SELECT $1::{kind}"), json!([value])).await;
        assert_eq!(
            (e.code(), e.place()),
            ("sql.parameter_invalid", Some("/params/0")),
            "{kind} {value}"
        );
    }
}

#[tokio::test]
async fn an_address_is_never_shown() {
    for url in ["postgres://user:canary-1@127.0.0.1:1/x", "canary-1", "mysql://canary-1/x"] {
        let mut cx = connected(&cx(transport(&[])), json!({"url": url}));
        cx.timeout = Millis(200);
        let e = refused(&cx, "query", "SELECT 1", json!([])).await;
        assert!(!format!("{e} {e:?} {}", e.to_json()).contains("canary"), "{e:?}");
    }
}
