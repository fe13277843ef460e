//! Floors of levqor-core: a module uses its own floor and those below, never one above.
//!
//! Read are the paths that start with `crate::` or `super::`, in code that is not for tests. A module called `port`
//! holds its room's trait and the records that the trait speaks of: it may use floor 2 like every port, and its records
//! may be used on its room's floor, because text cannot tell a record from a trait.

use crate::no_complaints;
use crate::source::{File, code, is_word, line_of, rust_below, test_modules, without_tests};

const CORE: &str = "levqor-core/src/";

/// Floor by module; the longest entry that is a prefix of a module's path decides. An entry that ends in `::*`
/// is for what lies below a module, not for the module itself.
const FLOORS: &[(&str, u8)] = &[
    // 0: ground
    ("error", 0),
    ("types", 0),
    ("clock", 0),
    ("json", 0),
    ("table", 0),
    ("trace", 0),
    // 1: rules, pure and sync
    ("access", 1),
    ("alert", 1),
    ("anomaly", 1),
    ("billing", 1),
    ("credits", 1),
    ("flags", 1),
    ("growth", 1),
    ("jobs", 1),
    ("limits", 1),
    ("pipeline", 1),
    ("privacy", 1),
    ("records", 1),
    ("usage", 1),
    ("watch", 1),
    // 2: ports
    ("check", 2),
    ("claims", 2),
    ("connector", 2),
    ("layers", 2),
    ("store", 2),
    ("transport", 2),
    ("vault", 2),
    // 3: adapters
    ("backend", 3),
    ("layers::*", 3),
    ("transport::http", 3),
    // 4: engine
    ("engine", 4),
    // 5: outside
    ("blocking", 5),
    ("testkit", 5),
];

fn floor(module: &[&str]) -> Option<u8> {
    let path = module.join("::");
    let covers = |entry: &str| match entry.strip_suffix("*") {
        Some(below) => path.starts_with(below),
        None => path == entry || path.starts_with(&format!("{entry}::")),
    };
    let found = FLOORS
        .iter()
        .filter(|(entry, _)| covers(entry))
        .max_by_key(|(entry, _)| entry.len());
    found.map(|(_, floor)| *floor)
}

/// The highest floor that a module may use.
fn reach(module: &[&str]) -> Option<u8> {
    floor(module).map(|own| if module.contains(&"port") { own.max(2) } else { own })
}

/// `limits/port.rs` and `limits/port/mod.rs` are `limits::port`; `lib.rs` is the empty path.
fn module_of(path: &str) -> Vec<&str> {
    let path = path.strip_prefix(CORE).unwrap_or(path);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut parts: Vec<&str> = path.split('/').collect();
    if matches!(parts.last(), Some(&"mod" | &"lib")) {
        parts.pop();
    }
    parts
}

/// Every path that a file uses, from the crate's root, with its place in the text.
fn uses(code: &str, module: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (start, prefix) in [("crate::", false), ("super::", true)] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            // `pub(in crate::..)` says who may look, and in `super::super::` the first one counts.
            let continues = before.ends_with(is_word) || before.ends_with("super::") || before.ends_with("pub(in ");
            if continues {
                continue;
            }
            let mut from: Vec<String> = Vec::new();
            let mut rest = &code[at + start.len()..];
            if prefix {
                let mut up = 1;
                while let Some(further) = rest.strip_prefix("super::") {
                    (up, rest) = (up + 1, further);
                }
                from.extend(module[..module.len().saturating_sub(up)].iter().map(|s| (*s).to_owned()));
            }
            let mut paths = Vec::new();
            tree(rest, &from, &mut paths);
            found.extend(paths.into_iter().map(|path| (at, path)));
        }
    }
    found
}

/// Expands `a::{b, c::d}` behind a prefix; returns what is left of the text.
fn tree<'a>(text: &'a str, prefix: &[String], out: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut inner) = rest.strip_prefix('{') {
            loop {
                inner = inner.trim_start();
                if let Some(after) = inner.strip_prefix('}') {
                    return after;
                }
                let next = tree(inner, &path, out);
                let next = next.find([',', '}']).map_or("", |i| &next[i..]);
                let next = next.strip_prefix(',').unwrap_or(next);
                if next.len() == inner.len() || next.is_empty() {
                    return next;
                }
                inner = next;
            }
        }
        let word = rest.find(|c| !is_word(c)).map_or(rest, |end| &rest[..end]);
        if word.is_empty() {
            break;
        }
        path.push(word.to_owned());
        rest = &rest[word.len()..];
        match rest.strip_prefix("::") {
            Some(further) => rest = further.trim_start(),
            None => break,
        }
    }
    out.push(path);
    rest
}

fn complaints(files: &[File]) -> Vec<String> {
    let codes: Vec<String> = files.iter().map(|f| code(&f.text)).collect();
    let for_tests: Vec<String> = files
        .iter()
        .zip(&codes)
        .flat_map(|(file, code)| test_paths(&file.path, code))
        .collect();
    let mut said = Vec::new();
    for (file, code) in files.iter().zip(&codes) {
        let module = module_of(&file.path);
        let path = module.join("::");
        // `lib.rs` names every room; a file of tests may use what it tests with.
        let is_tests = module.last().is_none_or(|name| *name == "tests" || name.ends_with("_tests"));
        if is_tests || for_tests.iter().any(|t| path == *t || path.starts_with(&format!("{t}::"))) {
            continue;
        }
        let Some(own) = reach(&module) else {
            said.push(format!(
                "{}: `{path}` has no floor; add it to FLOORS in tests/tidy/floors.rs",
                file.path
            ));
            continue;
        };
        let code = without_tests(code);
        for (at, used) in uses(&code, &module) {
            let used: Vec<&str> = used.iter().map(String::as_str).collect();
            if let Some(theirs) = floor(&used).filter(|theirs| *theirs > own) {
                said.push(format!(
                    "{}:{}: `{path}` (floor {own}) uses `{}` (floor {theirs}); move the thing down or the use up",
                    file.path,
                    line_of(&code, at),
                    used.join("::")
                ));
            }
        }
    }
    said
}

/// The modules that are declared for tests only in a file.
fn test_paths(path: &str, code: &str) -> Vec<String> {
    let module = module_of(path);
    test_modules(code)
        .into_iter()
        .map(|name| [module.as_slice(), &[name.as_str()]].concat().join("::"))
        .collect()
}

#[test]
fn a_module_uses_no_floor_above_its_own() {
    let files = rust_below(CORE);
    assert!(files.len() > 5, "levqor-core has its sources in {CORE}");
    no_complaints(&complaints(&files));
}

#[test]
fn the_check_finds_what_is_wrong() {
    let about = |path: &str, text: &str| complaints(&[File::sample(&format!("{CORE}{path}"), text)]);
    let bad = [
        ("error.rs", "use crate::jobs::retry::RetryPolicy;"),
        (
            "credits/draw.rs",
            "use crate::{error::{Error, Result}, store::{Batch}, types::Millis};",
        ),
        ("limits/gcra.rs", "use crate::claims::Claim;"),
        ("limits/port.rs", "use crate::backend::memory::Memory;"),
        ("jobs/retry.rs", "use super::super::store::Store;"),
        ("claims.rs", "fn f() { crate::engine::start() }"),
        ("layers/mod.rs", "pub use crate::layers::retry::Retry;"),
        ("transport/mod.rs", "use crate::transport::http::Http;"),
        ("backend/sql/store.rs", "use super::super::super::engine::Engine;"),
        ("engine/mod.rs", "macro_rules! m { () => { $crate::testkit::f() } }"),
        ("newroom.rs", ""),
    ];
    for (path, text) in bad {
        assert_eq!(about(path, text).len(), 1, "{path}: {text}: {:?}", about(path, text));
    }
    let good = [
        (
            "jobs/retry.rs",
            "use crate::{error::{Error, Result}, types::Millis};\nuse crate::credits::draw;",
        ),
        ("limits/mod.rs", "mod port;\npub use port::Ask;"),
        ("limits/headers.rs", "use super::port::Decision;"),
        ("backend/redis/limits_tests.rs", "use crate::testkit::services::Service;"),
        ("limits/port.rs", "use crate::claims::Claims;\nuse super::Quota;"),
        (
            "layers/retry.rs",
            "use crate::layers::Layer;\nuse crate::transport::http::Http;",
        ),
        (
            "error.rs",
            "//! [layers](crate::layers)\nconst T: &str = \"crate::engine::x\";",
        ),
        ("error.rs", "#[cfg(test)]\nmod tests { use crate::engine::Engine; }"),
        ("types/mod.rs", "pub(in crate::backend) fn f() {}"),
    ];
    for (path, text) in good {
        assert!(about(path, text).is_empty(), "{path}: {text}: {:?}", about(path, text));
    }
    let tests_elsewhere = [
        File::sample("levqor-core/src/limits/mod.rs", "#[cfg(test)]\nmod behaviour;"),
        File::sample("levqor-core/src/limits/behaviour.rs", "use crate::testkit::services;"),
    ];
    assert!(complaints(&tests_elsewhere).is_empty());
}
