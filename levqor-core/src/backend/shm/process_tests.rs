//! Several processes on one table: exact, and usable whoever is killed whenever.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::limits::behaviour::T0;
use crate::limits::{Ask, Quota};
use crate::testkit::exact;
use crate::testkit::stores::Folder;
use crate::types::{Tenant, random_bytes};

const TABLE: &str = "LEVQOR_TEST_SHM_TABLE";
const FROM: &str = "LEVQOR_TEST_SHM_FROM";
const MARK: &str = "levqor-shm";
const KEYS: usize = 20_000;

fn file(folder: &Folder) -> PathBuf {
    folder.path().join("table.limits")
}

fn open(path: impl AsRef<Path>) -> ShmLimits {
    ShmLimits::with_capacity(path, KEYS).unwrap()
}

#[tokio::test]
async fn four_processes_get_what_one_would() {
    if exact::serve(async |path| open(path)).await {
        return;
    }
    let folder = Folder::new();
    let path = file(&folder).display().to_string();
    let mut workers = exact::Workers::start(module_path!(), "four_processes_get_what_one_would", 4, &path);
    exact::at_fixed_instants(&mut workers);
    // Many keys: every process takes of each, in one order, and of each there are three.
    let quota = "3/hour".parse::<Quota>().unwrap();
    for key in 0..300 {
        let round = exact::Round {
            asks: vec![
                ("many".into(), format!("key-{key}"), quota),
                ("group".into(), format!("group-{}", key % 7), "8000/hour log".parse().unwrap()),
            ],
            now: Some(T0),
            calls: 2,
        };
        let admitted = workers
            .round(&round)
            .into_iter()
            .flatten()
            .filter(|(_, admitted)| *admitted)
            .count();
        assert_eq!(admitted, 3, "key {key}");
    }
}

/// Keys of a group; each may be taken 20 times, a group 100 times.
const GROUP: u32 = 8;
const OF_KEY: u32 = 20;
const OF_GROUP: u32 = 100;

fn take(limits: &ShmLimits, key: u32) -> bool {
    let asks = [
        Ask::new("key", key.to_le_bytes(), format!("{OF_KEY}/hour fixed").parse().unwrap()),
        Ask::new(
            "group",
            (key / GROUP).to_le_bytes(),
            format!("{OF_GROUP}/hour log").parse().unwrap(),
        ),
    ];
    limits.decide(&Tenant::default(), &asks, T0).unwrap().admitted
}

fn copy(test: &str, path: &Path, from: u32) -> (Child, BufReader<std::process::ChildStdout>) {
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
        .env(TABLE, path)
        .env(FROM, from.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim_end() != MARK {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "a copy ended early");
    }
    (child, out)
}

fn mark() -> std::io::Stdout {
    let mut out = std::io::stdout();
    writeln!(out, "\n{MARK}").unwrap();
    out.flush().unwrap();
    out
}

fn random(below: u32) -> u32 {
    u32::from_be_bytes(random_bytes()) % below
}

/// Takes of one key after the other for as long as it lives, and tells of every admission.
fn victim(path: &str) {
    let limits = open(path);
    let from: u32 = std::env::var(FROM).unwrap().parse().unwrap();
    let mut out = mark();
    std::thread::spawn(|| {
        // The parent's end of the pipe closes with the parent.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    for key in from.. {
        for _ in 0..OF_KEY + 5 {
            if take(&limits, key) {
                out.write_all(&key.to_le_bytes()).unwrap();
                out.flush().unwrap();
            }
        }
    }
}

#[test]
fn processes_that_are_killed_at_random_leave_the_table_exact() {
    if let Ok(path) = std::env::var(TABLE) {
        return victim(&path);
    }
    let kills: u32 = std::env::var("LEVQOR_SOAK_KILLS").map_or(200, |n| n.parse().unwrap());
    let folder = Folder::new();
    let (admitted, furthest) = (Mutex::new(HashMap::<u32, u32>::new()), AtomicU32::new(0));
    let lives = AtomicU32::new(0);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                while lives.fetch_add(1, Ordering::Relaxed) < kills {
                    let from = furthest.load(Ordering::Relaxed) / GROUP * GROUP;
                    let name = "processes_that_are_killed_at_random_leave_the_table_exact";
                    let (mut child, mut out) = copy(name, &file(&folder), from);
                    let (mut seen, last) = (0, 1 + random(200));
                    let mut record = [0; 4];
                    while out.read_exact(&mut record).is_ok() {
                        let key = u32::from_le_bytes(record);
                        *admitted.lock().unwrap().entry(key).or_default() += 1;
                        furthest.fetch_max(key, Ordering::Relaxed);
                        seen += 1;
                        if seen == last {
                            child.kill().unwrap();
                        }
                    }
                    // It ends by being killed only.
                    assert!(!child.wait().unwrap().success() && seen >= last);
                }
            });
        }
    });
    let limits = open(file(&folder));
    let mut admitted = admitted.into_inner().unwrap();
    let end = (furthest.into_inner() / GROUP + 1) * GROUP;
    for key in 0..end {
        while take(&limits, key) {
            *admitted.entry(key).or_default() += 1;
        }
    }
    let mut lost = 0;
    for group in 0..end / GROUP {
        let of_key = |key: u32| admitted.get(&key).copied().unwrap_or(0);
        let keys = group * GROUP..(group + 1) * GROUP;
        assert!(
            keys.clone().all(|key| of_key(key) <= OF_KEY),
            "too many of a key in group {group}"
        );
        let sum: u32 = keys.map(of_key).sum();
        assert!(sum <= OF_GROUP, "{sum} of group {group}");
        lost += OF_GROUP - sum;
    }
    assert!(lost <= kills, "{lost} units were lost by {kills} kills");
    assert!(end > 2 * GROUP && limits.stats().unwrap().evicted_spent == 0);
}

#[test]
fn the_lock_of_a_killed_process_is_taken_over() {
    let (tenant, quota) = (Tenant::default(), Quota::per_hour(3));
    if let Ok(path) = std::env::var(TABLE) {
        let limits = open(path);
        let _held = limits.lock_of(&tenant, "a", quota, b"k");
        mark();
        // Until it is killed.
        let _ = std::io::stdin().read(&mut [0]);
        panic!("the parent is gone");
    }
    let folder = Folder::new();
    let limits = open(file(&folder));
    let (mut child, _out) = copy("the_lock_of_a_killed_process_is_taken_over", &file(&folder), 0);
    let ask = [Ask::new("a", "k", quota)];
    let e = limits.decide(&tenant, &ask, T0).unwrap_err();
    assert_eq!(e.code(), "limits.busy", "the holder lives");
    child.kill().unwrap();
    // Whether it is a zombie still or gone: nobody waits for the dead.
    let d = limits.decide(&tenant, &ask, T0);
    child.wait().unwrap();
    assert_eq!(d.map(|d| d.asks[0].remaining).unwrap(), 2);
    assert!(limits.decide(&tenant, &ask, T0).unwrap().admitted);
}
