//! One fault at a time: exactly the right check fails, for its named cause, and what depends on it is blocked.
#![allow(clippy::unwrap_used, clippy::format_collect, clippy::items_after_statements)]

mod support;

use levqor_integrity::Status::{self, Error, Fail, Warn};
use support::World;

async fn world() -> World {
    let mut world = World::start().await;
    world.set("PRICE_PRO", Some("price_pro"));
    world.set(
        "SENTRY_DSN",
        Some(&format!(
            "http://3f1c9d07a5e4826b9c1d2e3f4a596877@127.0.0.1:{}/42",
            world.stub
        )),
    );
    std::fs::create_dir(world.folder.path().join("src")).unwrap();
    std::fs::write(world.folder.path().join("src/app.py"), "pass\n").unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_application() {
    let world = world().await;
    let cases: &[(&str, &str, Status, &str)] = &[
        ("health.error_inside", "http.health.main", Fail, "http.error_inside"),
        ("health.unhealthy", "http.health.main", Fail, "http.unhealthy"),
        ("health.503", "http.health.main", Fail, "http.status"),
        ("health.large", "http.health.main", Fail, "http.too_large"),
        ("health.degraded", "http.health.main", Warn, "http.degraded"),
        ("metrics.html", "http.metrics.public", Fail, "http.content_type"),
        ("uptime.500", "http.ops.uptime", Fail, "http.status"),
        ("queue.stuck", "http.queue.health", Fail, "http.unhealthy"),
        ("billing.json", "http.billing.health", Fail, "http.invalid_json"),
        ("billing.empty", "http.billing.health", Fail, "http.empty_body"),
        ("billing.login", "http.billing.health", Fail, "http.redirected"),
        ("scheduler.stopped", "scheduler.status", Fail, "scheduler.stopped"),
        ("scheduler.empty", "scheduler.status", Fail, "scheduler.no_jobs"),
        ("scheduler.renamed", "scheduler.status", Fail, "scheduler.missing_job"),
        ("scheduler.old", "scheduler.status", Fail, "scheduler.overdue"),
        ("scheduler.late", "scheduler.status", Fail, "scheduler.overdue"),
        ("fires.twice", "scheduler.single_fire", Fail, "scheduler.fired_twice"),
        ("headers.hsts", "headers.security", Fail, "hsts-not-implemented"),
        (
            "headers.hsts_short",
            "headers.security",
            Fail,
            "hsts-implemented-max-age-less-than-six-months",
        ),
        (
            "headers.nosniff",
            "headers.security",
            Fail,
            "x-content-type-options-not-implemented",
        ),
        ("headers.frame", "headers.security", Fail, "x-frame-options-not-implemented"),
        ("headers.csp", "headers.security", Fail, "csp-not-implemented"),
        (
            "headers.csp_inline",
            "headers.security",
            Fail,
            "csp-implemented-with-unsafe-inline",
        ),
        ("headers.404.csp", "headers.security", Fail, "csp-not-implemented"),
        ("stripe.charges", "stripe.api", Fail, "stripe.charges_disabled"),
        ("stripe.account", "stripe.api", Fail, "stripe.wrong_account"),
        ("stripe.401", "stripe.api", Fail, "stripe.key_rejected"),
        ("stripe.503", "stripe.api", Error, "stripe.unavailable"),
        ("stripe.price_gone", "stripe.api", Fail, "stripe.price_missing"),
        ("stripe.price_off", "stripe.api", Fail, "stripe.price_inactive"),
        ("stripe.price_test", "stripe.api", Fail, "stripe.price_mode"),
        ("stripe.hooks_off", "stripe.api", Fail, "stripe.webhook_disabled"),
        ("stripe.hooks_test", "stripe.api", Fail, "stripe.webhook_mode"),
        ("stripe.hooks_gone", "stripe.api", Fail, "stripe.webhook_missing"),
        ("billing.nested", "http.billing.health", Fail, "http.error_inside"),
        ("billing.cut", "http.billing.health", Fail, "http.body_cut"),
        ("billing.gzip", "http.billing.health", Fail, "http.body_encoding"),
        ("billing.404", "http.billing.health", Fail, "http.status"),
        ("billing.401", "http.billing.health", Fail, "http.status"),
        ("billing.429", "http.billing.health", Fail, "http.status"),
        ("headers.hsts_twice", "headers.security", Fail, "headers.contradictory"),
        ("headers.hsts_nonsense", "headers.security", Fail, "hsts-header-invalid"),
        (
            "headers.hsts_zero",
            "headers.security",
            Fail,
            "hsts-implemented-max-age-less-than-six-months",
        ),
        (
            "headers.nosniff_wrong",
            "headers.security",
            Fail,
            "x-content-type-options-header-invalid",
        ),
        (
            "headers.frame_wrong",
            "headers.security",
            Fail,
            "x-frame-options-header-invalid",
        ),
        ("headers.frame_all", "headers.security", Fail, "headers.contradictory"),
        (
            "headers.csp_star",
            "headers.security",
            Fail,
            "csp-implemented-with-unsafe-inline",
        ),
        (
            "headers.csp_data",
            "headers.security",
            Fail,
            "csp-implemented-with-unsafe-inline",
        ),
        (
            "headers.csp_object",
            "headers.security",
            Fail,
            "csp-implemented-with-unsafe-inline",
        ),
        (
            "headers.csp_eval",
            "headers.security",
            Fail,
            "csp-implemented-with-unsafe-eval",
        ),
        (
            "headers.csp_plain",
            "headers.security",
            Fail,
            "csp-implemented-with-insecure-scheme",
        ),
        ("headers.csp_nonsense", "headers.security", Fail, "csp-header-invalid"),
        (
            "headers.csp_report",
            "headers.security",
            Fail,
            "csp-not-implemented-but-reporting-enabled",
        ),
        ("root.loop", "deploy.reachability", Fail, "redirect.loop"),
        ("root.plain", "deploy.reachability", Fail, "redirect.to_plain"),
        ("root.502", "deploy.reachability", Fail, "net.server_error"),
        ("redirect.plain", "deploy.reachability", Fail, "redirect.not_https"),
        ("webhook.gone", "webhook.stripe", Fail, "webhook.missing"),
        ("webhook.get", "webhook.stripe", Fail, "webhook.accepts_get"),
        ("webhook.unsigned", "webhook.stripe", Fail, "webhook.accepts_unsigned"),
        ("webhook.unverified", "webhook.stripe", Fail, "webhook.accepts_forged"),
        ("webhook.replay", "webhook.stripe", Fail, "webhook.accepts_replayed"),
        ("webhook.crash", "webhook.stripe", Fail, "webhook.crashes_on_malformed"),
        ("webhook.unknown_type", "webhook.stripe", Fail, "webhook.refuses_genuine"),
        ("redirect.missing", "deploy.reachability", Fail, "redirect.missing"),
        ("redirect.host", "deploy.reachability", Fail, "redirect.wrong_host"),
        ("sentry.403", "sentry.accepts_event", Fail, "sentry.rejected"),
        ("feature.off", "feature.enabled", Fail, "feature.disabled"),
        ("chat.error", "feature.semantic_200", Fail, "feature.error_in_200"),
        ("log.leak", "logs.canary", Fail, "logs.secret_leaked"),
        ("date", "clock.skew", Fail, "clock.skew"),
    ];
    for (fault, check, status, cause) in cases {
        world.fault(fault);
        world.expect(check, *status, cause, &[]).await;
        world.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_environment() {
    let mut world = world().await;
    let good = world.env.clone();
    let live = format!("{}_live_51HqT9vKxLm2Rz8WnB4cYdE6f", "sk");
    let stripe: &[&str] = &["stripe.api"];
    let hook: &[&str] = &["webhook.stripe"];
    let sentry: &[&str] = &["sentry.accepts_event"];
    type Case = (
        &'static str,
        Option<String>,
        &'static str,
        &'static str,
        &'static [&'static str],
    );
    let cases: Vec<Case> = vec![
        ("JWT_SECRET", None, "env.jwt_secret", "env.missing", &[]),
        ("JWT_SECRET", Some(String::new()), "env.jwt_secret", "env.empty", &[]),
        ("JWT_SECRET", Some("   ".into()), "env.jwt_secret", "env.blank", &[]),
        (
            "JWT_SECRET",
            Some("Zk3vN8qW1xR7".into()),
            "env.jwt_secret",
            "env.too_short",
            &[],
        ),
        (
            "JWT_SECRET",
            Some("your-super-secret-jwt-key-change-me-in-production".into()),
            "env.jwt_secret",
            "env.placeholder",
            &[],
        ),
        ("JWT_SECRET", Some("a".repeat(48)), "env.jwt_secret", "env.low_entropy", &[]),
        (
            "JWT_SECRET",
            Some("Zk3vN8qW1xR7tB5yL0pC6dF2hJ9mS4gA8uE1iO7\n".into()),
            "env.jwt_secret",
            "env.whitespace",
            &[],
        ),
        (
            "JWT_SECRET",
            Some("\"Zk3vN8qW1xR7tB5yL0pC6dF2hJ9mS4gA8uE1iO7\"".into()),
            "env.jwt_secret",
            "env.quoted",
            &[],
        ),
        (
            "SESSION_SECRET",
            Some("abcabcabcabcabcabcabcabcabcabcabcabc".into()),
            "env.session_secret",
            "env.low_entropy",
            &[],
        ),
        (
            "STRIPE_SECRET_KEY",
            Some(live.replace("live", "test")),
            "env.stripe_secret_key",
            "env.wrong_mode",
            stripe,
        ),
        (
            "STRIPE_SECRET_KEY",
            Some(live.replace("sk_", "pk_")),
            "env.stripe_secret_key",
            "env.wrong_kind",
            stripe,
        ),
        (
            "STRIPE_SECRET_KEY",
            Some("51HqT9vKxLm2Rz8WnB4cYdE6f".into()),
            "env.stripe_secret_key",
            "env.malformed",
            stripe,
        ),
        ("STRIPE_SECRET_KEY", None, "env.stripe_secret_key", "env.missing", stripe),
        (
            "STRIPE_WEBHOOK_SECRET",
            Some("9fKq2LmZx7Rt4VbNc8WyHd3JsPg6TuEa".into()),
            "env.stripe_webhook_secret",
            "env.malformed",
            hook,
        ),
        (
            "STRIPE_WEBHOOK_SECRET",
            Some(live.replace("51H", "52H")),
            "env.stripe_webhook_secret",
            "env.wrong_kind",
            hook,
        ),
        (
            "RESEND_API_KEY",
            Some("Hk29dLmQ7TzXw4NvB8cRyPs6".into()),
            "env.resend_api_key",
            "env.malformed",
            &[],
        ),
        (
            "RESEND_API_KEY",
            Some("re_xxxxxxxxxxxxxxxxxxxx".into()),
            "env.resend_api_key",
            "env.placeholder",
            &[],
        ),
        (
            "SENTRY_DSN",
            Some("0123456789abcdef0123456789abcdef".into()),
            "env.sentry_dsn",
            "env.malformed",
            sentry,
        ),
        (
            "SLACK_WEBHOOK_URL",
            Some("https://example.com/services/T0/B0/x".into()),
            "env.slack_webhook_url",
            "env.malformed",
            &[],
        ),
        (
            "TELEGRAM_BOT_TOKEN",
            Some("AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw".into()),
            "env.telegram_bot_token",
            "env.malformed",
            &[],
        ),
    ];
    for (name, value, check, cause, blocked) in cases {
        world.set(name, value.as_deref());
        world.expect(check, Fail, cause, blocked).await;
        world.env = good.clone();
    }
    // A secret that serves twice is seen where the second one is, and by the audit of reuse.
    let jwt = good.iter().find(|(n, _)| n == "JWT_SECRET").unwrap().1.clone();
    world.set("SESSION_SECRET", Some(&jwt));
    let result = world.run().await;
    let failed: Vec<_> = result
        .checks
        .iter()
        .filter(|c| c.status == Fail)
        .map(|c| (c.id.as_str(), c.findings[0].cause.as_str()))
        .collect();
    assert_eq!(
        failed,
        [("env.session_secret", "env.reused"), ("secrets.reuse", "secrets.reused")]
    );
    world.env = good.clone();
    // Another program's name for a secret is the audit's business alone.
    world.set("LEGACY_TOKEN", Some(&jwt));
    world.expect("secrets.reuse", Fail, "secrets.reused", &[]).await;
    world.env = good;
    // What a pack names has to be set, or nothing can be told.
    world.set("PRICE_PRO", None);
    world.expect("stripe.api", Error, "pack.unset", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_database() {
    let world = world().await;
    let all: &[&str] = &["db.schema", "db.schema_ready", "db.commit_rolls_back", "clock.skew"];
    for (fault, repair, check, cause) in [
        (
            "ALTER TABLE customers RENAME COLUMN email TO mail",
            "ALTER TABLE customers RENAME COLUMN mail TO email",
            "db.schema",
            "db.missing_column",
        ),
        (
            "ALTER TABLE customers ALTER email TYPE text",
            "ALTER TABLE customers ALTER email TYPE varchar(255)",
            "db.schema",
            "db.column_type",
        ),
        (
            "ALTER TABLE customers ALTER email DROP NOT NULL",
            "ALTER TABLE customers ALTER email SET NOT NULL",
            "db.schema",
            "db.nullable",
        ),
        (
            "ALTER TABLE customers DROP CONSTRAINT customers_email_key",
            "ALTER TABLE customers ADD UNIQUE (email)",
            "db.schema",
            "db.not_unique",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_fkey",
            "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id)",
            "db.schema",
            "db.foreign_key",
        ),
        (
            "ALTER TABLE orders ADD CONSTRAINT late CHECK (total > 0) NOT VALID",
            "ALTER TABLE orders DROP CONSTRAINT late",
            "db.schema",
            "db.invalid",
        ),
        (
            "UPDATE alembic_version SET version_num = 'old'",
            "UPDATE alembic_version SET version_num = 'abc123'",
            "db.schema_ready",
            "migrations.pending",
        ),
        (
            "INSERT INTO alembic_version VALUES ('other')",
            "DELETE FROM alembic_version WHERE version_num = 'other'",
            "db.schema_ready",
            "migrations.several_heads",
        ),
        (
            "ALTER TABLE alembic_version RENAME TO av",
            "ALTER TABLE av RENAME TO alembic_version",
            "db.schema_ready",
            "migrations.none",
        ),
    ] {
        world.sql(fault).await;
        world.expect(check, Fail, cause, &[]).await;
        world.sql(repair).await;
    }
    world
        .sql("ALTER TABLE orders DROP CONSTRAINT orders_customer_id_fkey; INSERT INTO orders (customer_id, total) VALUES (77, 1)")
        .await;
    let result = world.run().await;
    let ready = result.checks.iter().find(|c| c.id == "db.schema_ready").unwrap();
    assert_eq!((ready.status, ready.findings[0].cause.as_str()), (Fail, "db.sanity"));
    world
        .sql("DELETE FROM orders; ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id)")
        .await;

    // Somebody who commits without rolling back after a failure leaves a session like this.
    use sqlx::Connection as _;
    let mut hanging = sqlx::postgres::PgConnection::connect(&world.database).await.unwrap();
    assert!(
        sqlx::raw_sql("SET application_name = 'worker'; BEGIN; SELECT 1 / 0")
            .execute(&mut hanging)
            .await
            .is_err()
    );
    world.expect("db.commit_rolls_back", Fail, "db.aborted_session", &[]).await;
    hanging.close().await.unwrap();

    let name = world.database.rsplit('/').next().unwrap().to_owned();
    world
        .sql(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
        .await;
    let result = world.run().await;
    let status = |id: &str| {
        result
            .checks
            .iter()
            .find(|c| c.id == id)
            .map(|c| (c.status, c.findings.first().map_or("", |f| f.cause.as_str())))
            .unwrap()
    };
    assert_eq!(status("db.read_write"), (Fail, "db.read_only"));
    // Reading works, so what only reads is judged.
    assert_eq!(
        (status("db.schema").0, status("db.schema_ready").0),
        (Status::Pass, Status::Pass)
    );
    assert_eq!(status("db.commit_rolls_back"), (Fail, "db.read_only"));
    world
        .sql(&format!(
            "BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT"
        ))
        .await;

    let mut gone = world;
    gone.database.push_str("_gone");
    gone.expect("db.read_write", Fail, "db.no_database", all).await;
    gone.database = "postgres://levqor@127.0.0.1:9/none".into();
    let result = gone.run().await;
    let status = |id: &str| result.checks.iter().find(|c| c.id == id).unwrap();
    assert_eq!(status("db.read_write").findings[0].cause, "db.unreachable");
    assert!(all.iter().all(|id| status(id).status == Status::Blocked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_only_grows_is_seen() {
    let world = world().await;
    let log = world.folder.path().join("app.log");
    std::fs::write(&log, "x".repeat(3 << 20)).unwrap();
    world.expect("logs.canary", Fail, "logs.unrotated", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_that_the_program_does_not_know_are_seen() {
    let mut world = world().await;
    world
        .sql(
            "DROP TABLE alembic_version; CREATE TABLE goose_db_version (version_id bigint, is_applied bool); \
             INSERT INTO goose_db_version VALUES (1, true), (2, true), (3, true)",
        )
        .await;
    let pack = |exact: &str, expected: &str| {
        format!("[check.\"ready.again\"]\nuses = \"db.schema_ready\"\nexpected = [{expected}]\n{exact}")
    };
    for (exact, expected, status, cause) in [
        ("", "\"1\", \"2\"", Warn, "migrations.ahead"),
        ("exact = true", "\"1\", \"2\"", Fail, "migrations.ahead"),
        ("exact = true", "\"1\", \"2\", \"4\"", Fail, "migrations.pending"),
        ("exact = true", "\"1\", \"2\", \"3\"", Status::Pass, ""),
    ] {
        world.extra = pack(exact, expected);
        let result = world.run().await;
        let found = result.checks.iter().find(|c| c.id == "ready.again").unwrap();
        assert_eq!(
            (found.status, found.findings.first().map_or("", |f| f.cause.as_str())),
            (status, cause),
            "{found:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_of_bad_habits_is_seen() {
    let world = world().await;
    std::fs::write(world.folder.path().join("src/app.py"), "try:\n    x()\nexcept:\n    pass\n").unwrap();
    world.expect("source.ratchet", Fail, "source.grew", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_one_failure() {
    let world = world().await;
    let result = {
        let mut down = world;
        down.https = 9;
        down.run().await
    };
    for check in &result.checks {
        let online = check.about.category == "http"
            || [
                "scheduler.status",
                "scheduler.single_fire",
                "headers.security",
                "webhook.stripe",
                "tls.certificate",
                "tls.protocols",
                "feature.enabled",
                "feature.semantic_200",
                "logs.canary",
                "clock.skew",
            ]
            .contains(&check.id.as_str());
        match check.id.as_str() {
            "deploy.reachability" => assert_eq!((check.status, check.findings[0].cause.as_str()), (Fail, "net.refused")),
            _ if online => assert_eq!(
                (check.status, check.blocked_by.as_deref()),
                (Status::Blocked, Some("deploy.reachability")),
                "{}",
                check.id
            ),
            _ => assert!(
                matches!(check.status, Status::Pass | Status::Skip),
                "{} {}",
                check.id,
                check.summary
            ),
        }
    }
}
