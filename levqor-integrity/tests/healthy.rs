//! A healthy system is READY, every time.
#![allow(clippy::unwrap_used, clippy::format_collect, clippy::items_after_statements)]

mod support;

use levqor_integrity::{Status, Verdict};
use support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_system_is_ready() {
    let mut world = World::start().await;
    world.set("PRICE_PRO", Some("price_pro"));
    world.set(
        "SENTRY_DSN",
        Some(&format!(
            "http://3f1c9d07a5e4826b9c1d2e3f4a596877@127.0.0.1:{}/42",
            world.stub
        )),
    );
    world.set(
        "SLACK_WEBHOOK_URL",
        Some("https://hooks.slack.com/services/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"),
    );
    world.set("TELEGRAM_BOT_TOKEN", Some("123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw4"));
    std::fs::create_dir(world.folder.path().join("src")).unwrap();
    std::fs::write(
        world.folder.path().join("src/app.py"),
        "try:\n    pass\nexcept ValueError:\n    raise\n",
    )
    .unwrap();
    // The long form is run on demand: LEVQOR_HEALTHY_RUNS=500.
    let runs = std::env::var("LEVQOR_HEALTHY_RUNS").map_or(5, |n| n.parse().unwrap());
    for _ in 0..runs {
        let result = world.run().await;
        let bad: Vec<_> = result.checks.iter().filter(|c| c.status != Status::Pass).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        assert_eq!((result.checks.len(), result.verdict()), (32, Verdict::Ready));
    }
}
