//! Files of a folder, and that no path leads out of it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use levqor_core::connector::Cx;
use levqor_core::error::{Error, ErrorKind};
use serde_json::{Value, json};
use support::contract::connector;
use support::{connected, cx, transport};

/// A folder with a root in it, and a secret beside the root; removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!(
            "levqor-files-{:032x}",
            u128::from_be_bytes(levqor_core::types::random_bytes())
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("root")).unwrap();
        fs::write(folder.join("secret.txt"), "canary").unwrap();
        Place(folder)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn cx(&self) -> Cx {
        connected(&cx(transport(&[])), json!({"root": self.root()}))
    }

    async fn ok(&self, action: &str, input: Value) -> Value {
        connector("files").call(&self.cx(), action, &input).await.unwrap().data
    }

    async fn refused(&self, action: &str, input: Value) -> Error {
        connector("files").call(&self.cx(), action, &input).await.unwrap_err()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn files_are_written_read_listed_moved_and_deleted() {
    let p = Place::new();
    assert_eq!(
        p.ok("write", json!({"path": "a/b/c.txt", "text": "hi"})).await,
        json!({"path": "a/b/c.txt", "size": 2})
    );
    p.ok("append", json!({"path": "a/b/c.txt", "text": " you"})).await;
    assert_eq!(
        p.ok("read", json!({"path": "a/b/c.txt"})).await,
        json!({"text": "hi you", "base64": null, "size": 6})
    );
    p.ok("write", json!({"path": "a/b/c.txt", "base64": "/wA="})).await;
    assert_eq!(p.ok("read", json!({"path": "./a/../a/b/c.txt"})).await["base64"], "/wA=");
    let e = p
        .refused("write", json!({"path": "a/b/c.txt", "text": "x", "only_new": true}))
        .await;
    assert_eq!((e.kind(), e.code()), (ErrorKind::Conflict, "files.exists"));
    p.ok("write", json!({"path": "new.txt", "text": "", "only_new": true})).await;

    let names = |v: &Value| -> Vec<String> {
        let entries = v["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|e| {
                format!(
                    "{} {} {}",
                    e["name"].as_str().unwrap(),
                    e["kind"].as_str().unwrap(),
                    e["size"]
                )
            })
            .collect()
    };
    assert_eq!(names(&p.ok("list", json!({})).await), ["a folder null", "new.txt file 0"]);
    assert_eq!(
        names(&p.ok("list", json!({"path": "a/b"})).await),
        ["c.txt file 2"],
        "nothing is left beside"
    );
    p.ok("move", json!({"from": "a/b/c.txt", "to": "d/e.txt"})).await;
    assert!(fs::read(p.root().join("d/e.txt")).is_ok());
    assert_eq!(p.ok("delete", json!({"path": "d/e.txt"})).await, json!({"deleted": true}));
    assert_eq!(p.ok("delete", json!({"path": "d/e.txt"})).await, json!({"deleted": false}));
    assert_eq!(
        p.refused("read", json!({"path": "d/e.txt"})).await.kind(),
        ErrorKind::NotFound
    );
    assert_eq!(p.refused("read", json!({"path": "d"})).await.code(), "files.wrong_kind");
    assert_eq!(
        p.refused("write", json!({"path": "x"})).await.code(),
        "connector.content_missing"
    );
}

#[tokio::test]
async fn no_path_leads_out_of_the_root() {
    let ways = [
        "../secret.txt",
        "in/../../secret.txt",
        "{outside}",
        "link",
        "relative",
        "chain",
        "folder/secret.txt",
        "up/secret.txt",
        "up/root/../secret.txt",
        "slash{outside}",
        "/etc/passwd",
        "./../secret.txt",
        "..",
        "up/up/etc/passwd",
    ];
    let mut refused = 0;
    for way in ways {
        let p = Place::new();
        let outside = p.0.join("secret.txt");
        symlink(&outside, p.root().join("link")).unwrap();
        symlink("../secret.txt", p.root().join("relative")).unwrap();
        symlink(&p.0, p.root().join("folder")).unwrap();
        symlink("..", p.root().join("up")).unwrap();
        symlink("/", p.root().join("slash")).unwrap();
        symlink("link", p.root().join("chain")).unwrap();
        fs::create_dir(p.root().join("in")).unwrap();
        let way = way.replace("{outside}", outside.to_str().unwrap());
        let way = way.as_str();
        for (action, input) in [
            ("read", json!({"path": way})),
            ("append", json!({"path": way, "text": "x"})),
            ("list", json!({"path": way})),
            ("move", json!({"from": way, "to": "mine.txt"})),
            ("move", json!({"from": "in", "to": format!("{way}/x")})),
        ] {
            // A link itself may be moved: that touches nothing outside.
            if action == "move" && ["link", "relative", "chain"].contains(&way) && input["to"] == "mine.txt" {
                continue;
            }
            let e = p.refused(action, input.clone()).await;
            assert!(!format!("{e:?}").contains("canary"), "{action} {input}");
            refused += 1;
        }
        for (action, input) in [("write", json!({"path": way, "text": "x"})), ("delete", json!({"path": way}))] {
            // Links in the root may be replaced or removed; what they point to stays.
            let _ = connector("files").call(&p.cx(), action, &input).await;
        }
        assert_eq!(fs::read_to_string(&outside).unwrap(), "canary", "{way}");
        let mut beside: Vec<_> = fs::read_dir(&p.0).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["root", "secret.txt"], "{way}: nothing was made outside");
    }
    assert!(refused >= 60, "{refused}");
}

#[tokio::test]
async fn links_within_the_root_work_and_pipes_do_not_hang() {
    let p = Place::new();
    p.ok("write", json!({"path": "a.txt", "text": "hi"})).await;
    symlink("a.txt", p.root().join("b.txt")).unwrap();
    assert_eq!(p.ok("read", json!({"path": "b.txt"})).await["text"], "hi");
    let made = std::process::Command::new("mkfifo")
        .arg(p.root().join("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    for (action, input) in [
        ("read", json!({"path": "pipe"})),
        ("append", json!({"path": "pipe", "text": "x"})),
    ] {
        assert_eq!(p.refused(action, input).await.code(), "files.wrong_kind");
    }
    assert_eq!(
        connector("files")
            .call(&cx(transport(&[])), "list", &json!({}))
            .await
            .unwrap_err()
            .code(),
        "connection.missing"
    );
    let gone = connected(&cx(transport(&[])), json!({"root": p.0.join("none")}));
    assert_eq!(
        connector("files").call(&gone, "list", &json!({})).await.unwrap_err().code(),
        "files.root_unusable"
    );
}
