//! Where limits lie, by the store's URL and by Redis' address.
#![allow(clippy::unwrap_used)]

use levqor::limits::{Ask, Decision, Quota};
use levqor::types::{Millis, Tenant};

const NOW: Millis = Millis(1_700_000_000_000);

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("levqor-backends-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn take(url: &str, redis: Option<&str>) -> Decision {
    let backend = levqor::open_backend(url, redis).await.unwrap();
    let ask = [Ask::new("runs", "acme", Quota::per_hour(3))];
    backend.limits.take(&Tenant::default(), &ask, NOW).await.unwrap()
}

#[tokio::test]
async fn limits_lie_where_the_url_says() {
    let folder = Folder::new("url");
    let url = format!("sqlite://{}", folder.0.join("shop.db").display());
    let elsewhere = format!("{url}?limits=shm:{}", folder.0.join("elsewhere").display());
    // Each place counts by itself, and all but memory go on where they ended.
    for (url, left) in [
        (url.clone(), [2, 1]),
        (format!("{url}?limits=store"), [0, 0]),
        (format!("{url}?limits=shm"), [2, 1]),
        (format!("{url}?limits=memory"), [2, 2]),
        (elsewhere, [2, 1]),
    ] {
        for left in left {
            assert_eq!(take(&url, None).await.asks[0].remaining, left, "{url}");
        }
    }
    assert!(folder.0.join("shop.db.limits").is_file() && folder.0.join("elsewhere").is_file());
    let e = levqor::open_backend("memory://?limits=shm", None).await.err().unwrap();
    assert_eq!(e.code(), "store.bad_url");
}

#[tokio::test]
async fn limits_and_claims_go_to_redis_where_one_is_given() {
    // Nobody listens there: limits say that they are counted without it, and claims are refused.
    let nowhere = "redis://127.0.0.1:1/";
    assert!(take("memory://", Some(nowhere)).await.degraded);
    assert!(!take("memory://", Some("")).await.degraded);
    let backend = levqor::open_backend("memory://", Some(nowhere)).await.unwrap();
    let e = backend
        .claims
        .claim(&Tenant::default(), "k", Millis(1), NOW)
        .await
        .unwrap_err();
    assert_eq!(e.code(), "redis.unavailable");
    let e = levqor::open_backend("memory://", Some("not an address")).await.err().unwrap();
    assert_eq!(e.code(), "redis.invalid_url");
}
