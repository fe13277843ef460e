//! Which crate may know which: core <- connectors, core <- integrity, all three <- facade <- everything else.

use crate::no_complaints;
use crate::source::{File, files, read};

/// A crate's manifest, and the crates of ours that its code may name.
const EDGES: &[(&str, &[&str])] = &[
    ("levqor-core/Cargo.toml", &[]),
    ("levqor-connectors/Cargo.toml", &["levqor-core"]),
    ("levqor-integrity/Cargo.toml", &["levqor-core"]),
    ("Cargo.toml", &["levqor-core", "levqor-connectors", "levqor-integrity"]),
    ("bindings-python/Cargo.toml", &["levqor"]),
    ("bindings-node/Cargo.toml", &["levqor"]),
    ("bindings-uniffi/Cargo.toml", &["levqor"]),
    ("benches/Cargo.toml", &["levqor"]),
];

/// Our crates that a manifest depends on, tests aside.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut counts = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let table = section
                .rsplit_once(".dependencies.")
                .map(|(_, name)| name)
                .or_else(|| section.strip_prefix("dependencies."));
            if let Some(name) = table {
                found.push(name.to_owned());
            }
            let is_list = section == "dependencies" || section == "build-dependencies" || section.ends_with(".dependencies");
            counts = is_list && section != "workspace.dependencies";
        } else if counts {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            found.push(name.trim_matches('"').to_owned());
        }
    }
    found.retain(|name| name == "levqor" || name.starts_with("levqor-"));
    found
}

fn wrong_edges(manifests: &[File]) -> Vec<String> {
    let mut said = Vec::new();
    for file in manifests {
        let Some((_, allowed)) = EDGES.iter().find(|(path, _)| *path == file.path) else {
            said.push(format!(
                "{}: an unknown crate; decide what it may know and add it to EDGES in tests/tidy/crates.rs",
                file.path
            ));
            continue;
        };
        for name in dependencies(&file.text)
            .iter()
            .filter(|name| !allowed.contains(&name.as_str()))
        {
            said.push(format!(
                "{}: may not depend on `{name}`, only on {allowed:?} of ours",
                file.path
            ));
        }
    }
    said
}

#[test]
fn crates_know_only_what_they_may() {
    let manifests: Vec<File> = files()
        .into_iter()
        .filter(|f| f.path == "Cargo.toml" || f.path.ends_with("/Cargo.toml"))
        .collect();
    assert!(manifests.len() >= 7, "the workspace has at least seven crates");
    no_complaints(&wrong_edges(&manifests));
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let manifests = files().into_iter().filter(|f| f.path.ends_with("Cargo.toml"));
    // napi's macros need "deny" where the workspace says "forbid", so that crate writes its lints out.
    let missing: Vec<String> = manifests
        .filter(|f| f.path != "bindings-node/Cargo.toml" && !f.text.contains("[lints]\nworkspace = true"))
        .map(|f| format!("{}: add `[lints]` with `workspace = true`", f.path))
        .collect();
    no_complaints(&missing);
    assert!(
        read("Cargo.toml").contains("unsafe_code = "),
        "the workspace says what it thinks of unsafe code"
    );
}

#[test]
fn the_edge_check_finds_wrong_edges() {
    let n = |path: &str, text: &str| wrong_edges(&[File::sample(path, text)]).len();
    assert_eq!(
        n("levqor-core/Cargo.toml", "[dependencies]\nlevqor-connectors.workspace = true"),
        1
    );
    assert_eq!(n("levqor-core/Cargo.toml", "[dependencies.levqor]\npath = \"..\""), 1);
    assert_eq!(
        n(
            "levqor-core/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nlevqor = { path = \"..\" }"
        ),
        1
    );
    assert_eq!(
        n(
            "levqor-connectors/Cargo.toml",
            "[build-dependencies]\nlevqor-core = \"1\"\nlevqor-integrity = \"1\""
        ),
        1
    );
    assert_eq!(
        n("bindings-node/Cargo.toml", "[dependencies]\nlevqor-core.workspace = true"),
        1
    );
    assert_eq!(n("levqor-other/Cargo.toml", ""), 1);
    assert_eq!(
        n(
            "levqor-connectors/Cargo.toml",
            "[dependencies]\nlevqor-core.workspace = true\nserde = \"1\"\n[dev-dependencies]\nlevqor = \"1\""
        ),
        0
    );
    assert_eq!(
        n(
            "Cargo.toml",
            "[workspace.dependencies]\nlevqor = { path = \".\" }\n[dependencies]\nlevqor-core.workspace = true"
        ),
        0
    );
}
