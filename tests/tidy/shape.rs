//! The shape of the code: small traits, few features inside, short files, one clock, one source of randomness.

use crate::no_complaints;
use crate::source::{File, code, files, is_rust, is_word, line_of, rust_below, without_tests};

/// A port that asks for more than this of its adapters is two ports.
const MAX_REQUIRED: usize = 4;
/// A file that is longer does more than one thing.
const MAX_LINES: usize = 700;
/// Longer files that are right as they are, each with its reason.
const LONG_FILES: &[&str] = &[];
/// Where features may be asked for: the places that put things together.
const FEATURE_PLACES: &[&str] = &[
    "levqor-core/src/lib.rs",
    "levqor-core/src/backend/mod.rs",
    "levqor-core/src/backend/open.rs",
    "levqor-core/src/backend/sql/mod.rs",
    "levqor-core/src/testkit/stores.rs",
    "levqor-core/src/transport/mod.rs",
    "levqor-connectors/src/lib.rs",
    "levqor-integrity/src/lib.rs",
    "levqor-integrity/src/db/mod.rs",
    "levqor-integrity/src/keep.rs",
    "src/lib.rs",
    "src/cli/mod.rs",
    "src/cli/doctor.rs",
    "src/cli/doctor/evidence.rs",
    "src/cli/doctor/selftest.rs",
    "src/cli/integrity.rs",
    "src/cli/integrity/insights.rs",
    "src/cli/setup.rs",
];
/// How often, over all of them.
const MAX_FEATURE_CFGS: usize = 110;

/// The crates whose code runs in somebody else's process.
fn library_files() -> Vec<File> {
    ["levqor-core/src/", "levqor-connectors/src/", "levqor-integrity/src/", "src/"]
        .into_iter()
        .flat_map(rust_below)
        .collect()
}

/// The public traits of a text with their numbers of required methods.
fn traits(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("pub trait ") {
        let rest = &code[at + "pub trait ".len()..];
        let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
        let Some(open) = rest.find('{') else { continue };
        found.push((at, name, required_methods(&rest[open + 1..])));
    }
    found
}

/// Counts the `fn` at the top of a trait's body that end in `;` instead of a block.
fn required_methods(body: &str) -> usize {
    let (mut depth, mut in_fn, mut count) = (0_i32, false, 0);
    let mut word = String::new();
    for c in body.chars() {
        if is_word(c) {
            word.push(c);
            continue;
        }
        if depth == 0 && word == "fn" {
            in_fn = true;
        }
        word.clear();
        match c {
            '{' | '(' | '[' => {
                in_fn &= !(c == '{' && depth == 0);
                depth += 1;
            }
            '}' if depth == 0 => break,
            '}' | ')' | ']' => depth -= 1,
            ';' if depth == 0 && in_fn => (in_fn, count) = (false, count + 1),
            _ => {}
        }
    }
    count
}

fn large_traits(files: &[File]) -> Vec<String> {
    let mut said = Vec::new();
    for file in files {
        let code = code(&file.text);
        for (at, name, n) in traits(&code).into_iter().filter(|(_, _, n)| *n > MAX_REQUIRED) {
            said.push(format!(
                "{}:{}: trait `{name}` requires {n} methods, at most {MAX_REQUIRED} are right; give some a default, put data into \
                 a record or split the trait",
                file.path,
                line_of(&code, at)
            ));
        }
    }
    said
}

/// The places of `cfg(..)`, `cfg!(..)` and `cfg_attr(..)` that ask for a feature.
fn feature_cfgs(code: &str) -> Vec<usize> {
    let asks = |at: &usize| {
        let condition = &code[*at..];
        let Some(open) = condition.find('(') else { return false };
        let head_is_cfg = matches!(&condition[..open], "cfg" | "cfg!" | "cfg_attr");
        let mut depth = 0;
        let end = condition.char_indices().skip(open).find_map(|(i, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(i)
        });
        let condition = &condition[open..end.unwrap_or(condition.len())];
        // A lint that is silenced for some builds builds the same code.
        let is_lint = condition.contains("allow(") || condition.contains("expect(");
        head_is_cfg && condition.contains("feature =") && !is_lint
    };
    code.match_indices("cfg").map(|(at, _)| at).filter(asks).collect()
}

fn features_inside(files: &[File]) -> Vec<String> {
    let mut said = Vec::new();
    let mut allowed = 0;
    for file in files {
        let code = without_tests(&code(&file.text));
        let places = feature_cfgs(&code);
        if FEATURE_PLACES.contains(&file.path.as_str()) {
            allowed += places.len();
            continue;
        }
        said.extend(places.into_iter().map(|at| {
            format!(
                "{}:{}: asks for a feature; only these may: {}",
                file.path,
                line_of(&code, at),
                FEATURE_PLACES.join(", ")
            )
        }));
    }
    if allowed > MAX_FEATURE_CFGS {
        said.push(format!(
            "features are asked for {allowed} times, at most {MAX_FEATURE_CFGS} are planned: put whole rooms behind one"
        ));
    }
    said
}

fn long_files(files: &[File], excused: &[&str]) -> Vec<String> {
    let is_source = |path: &str| {
        [".rs", ".py", ".ts", ".js", ".mjs", ".sh"]
            .iter()
            .any(|end| path.ends_with(end))
    };
    let mut said = Vec::new();
    for file in files.iter().filter(|f| is_source(&f.path)) {
        let (lines, is_excused) = (file.text.lines().count(), excused.contains(&file.path.as_str()));
        if lines > MAX_LINES && !is_excused {
            said.push(format!(
                "{}: {lines} lines, at most {MAX_LINES} are right; a file does one thing, so split it",
                file.path
            ));
        } else if lines <= MAX_LINES && is_excused {
            said.push(format!(
                "{}: is short enough again; take it out of LONG_FILES in tests/tidy/shape.rs",
                file.path
            ));
        }
    }
    said
}

/// What comes in from outside has one door: `(words, the only file that may say them, what to use instead)`.
const DOORS: &[(&[&str], &str, &str)] = &[
    (
        &["SystemTime::now", "Timestamp::now", "Zoned::now", "Utc::now"],
        "levqor-core/src/clock.rs",
        "take `now` as an argument or ask the engine's Clock",
    ),
    (
        &[
            "SystemRandom",
            "rand::fill",
            "rand::random",
            "rand::rng",
            "thread_rng",
            "getrandom",
        ],
        "levqor-core/src/types/id.rs",
        "use types::random_bytes",
    ),
    (
        &["allow(unsafe_code"],
        "levqor-core/src/backend/shm/map.rs",
        "do it without unsafe code",
    ),
];

fn side_doors(files: &[File]) -> Vec<String> {
    let mut said = Vec::new();
    for file in files {
        let code = without_tests(&code(&file.text));
        for (words, door, instead) in DOORS.iter().filter(|(_, door, _)| *door != file.path) {
            for (at, word) in words.iter().flat_map(|word| code.match_indices(word)) {
                said.push(format!(
                    "{}:{}: `{word}` belongs into {door} alone; {instead}",
                    file.path,
                    line_of(&code, at)
                ));
            }
        }
    }
    said
}

#[test]
fn a_public_trait_requires_few_methods() {
    no_complaints(&large_traits(&rust_below("levqor-core/src/")));
}

#[test]
fn features_are_asked_for_in_few_places() {
    no_complaints(&features_inside(&library_files()));
}

#[test]
fn files_are_short() {
    no_complaints(&long_files(&files(), LONG_FILES));
}

#[test]
fn time_and_randomness_have_one_door_each() {
    no_complaints(&side_doors(&library_files()));
}

#[test]
fn the_trait_check_counts_required_methods_only() {
    let four = "pub trait Store: Send {\n type X;\n const N: usize;\n fn a(&self, x: [u8; 3]) -> [u8; 2];\n async fn b(&self);\n fn c(&self)\n where Self: Sized;\n \
                fn d(&self);\n fn sugar(&self) { let x: [u8; 1] = f(); }\n // fn not_me(&self);\n}";
    assert_eq!(
        traits(&code(four)).iter().map(|t| (t.1.as_str(), t.2)).collect::<Vec<_>>(),
        [("Store", 4)]
    );
    let five = File::sample("x.rs", &four.replace("type X;", "fn e();"));
    assert_eq!(large_traits(&[five]).len(), 1);
    assert_eq!(large_traits(&[File::sample("x.rs", four)]).len(), 0);
}

#[test]
fn the_feature_check_sees_every_form() {
    let forms = [
        "#[cfg(feature = \"a\")]",
        "#[cfg(all(unix, not(feature = \"a\")))]",
        "if cfg!(feature = \"a\")",
        "#[cfg_attr(feature = \"a\", x)]",
    ];
    for form in forms {
        assert_eq!(
            features_inside(&[File::sample("levqor-core/src/jobs/mod.rs", form)]).len(),
            1,
            "{form}"
        );
        assert_eq!(features_inside(&[File::sample("src/lib.rs", form)]).len(), 0, "{form}");
    }
    let free = "#[cfg(test)] mod t { #[cfg(feature = \"a\")] fn f() {} }\n// cfg(feature = \"b\")\n#[cfg(unix)] fn feature() {}\n\
                #[cfg_attr(not(feature = \"a\"), allow(dead_code))] fn f() {}";
    assert_eq!(features_inside(&[File::sample("levqor-core/src/jobs/mod.rs", free)]).len(), 0);
    let many = File::sample("src/lib.rs", &forms[0].repeat(MAX_FEATURE_CFGS + 1));
    assert_eq!(features_inside(&[many]).len(), 1);
}

#[test]
fn the_length_check_counts_lines() {
    let file = |lines: usize| File::sample("a.rs", &"x\n".repeat(lines));
    assert_eq!(long_files(&[file(MAX_LINES)], &[]).len(), 0);
    assert_eq!(long_files(&[file(MAX_LINES + 1)], &[]).len(), 1);
    assert_eq!(long_files(&[file(MAX_LINES + 1)], &["a.rs"]).len(), 0);
    assert_eq!(long_files(&[file(1)], &["a.rs"]).len(), 1);
    assert!(is_rust("a.rs") && !is_rust("a.py"));
}

#[test]
fn the_door_check_finds_other_doors() {
    let at = |path: &str| {
        side_doors(&[File::sample(
            path,
            "let t = SystemTime::now();\n// thread_rng\n#[cfg(test)] mod t { SystemRandom }",
        )])
    };
    assert_eq!(at("levqor-core/src/jobs/mod.rs").len(), 1);
    assert_eq!(at("levqor-core/src/clock.rs").len(), 0);
}
