//! The PDF of a run: whole, the same every time, and readable by others.
#![allow(clippy::unwrap_used)]

#[path = "support/report.rs"]
mod sample;

use std::path::{Path, PathBuf};

use levqor_core::types::Millis;
use levqor_integrity::Verdict;
use levqor_integrity::evidence::{Evidence, Link};
use levqor_integrity::pdf::{Look, render};
use levqor_integrity::report::{Past, Period, Report};
use lopdf::Document;
use sample::{START, checks, made};
use serde_json::{Value, json};

/// Where the documents are left, to be looked at.
fn keep(name: &str, pdf: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, pdf).unwrap();
    path
}

fn report_of(n: usize, troubled: bool) -> Report {
    let (bundle, evidence) = made("Acme Shop", checks(n, troubled, START), START, None);
    Report::of(
        &evidence,
        None,
        &Value::Null,
        Some("0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"),
    )
    .unwrap()
    .with_files(bundle.files())
}

fn pages(pdf: &[u8]) -> Vec<String> {
    let doc = Document::load_mem(pdf).unwrap();
    doc.get_pages().into_keys().map(|n| doc.extract_text(&[n]).unwrap()).collect()
}

/// Text without spaces and line ends, since lines are broken where they have to be.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn every_page_says_where_it_belongs_and_together_they_say_everything() {
    let report = report_of(22, true);
    let pdf = render(&report, &Look::default()).unwrap();
    keep("checks-22.pdf", &pdf);
    assert_eq!(
        render(&report, &Look::default()).unwrap(),
        pdf,
        "equal reports give equal bytes"
    );
    assert!(pdf.len() <= 150 << 10, "{} bytes", pdf.len());
    let pages = pages(&pdf);
    assert!((10..=20).contains(&pages.len()), "{} pages", pages.len());
    for (i, text) in pages.iter().enumerate() {
        let text = squeezed(text);
        assert!(text.contains(&format!("page{}of{}", i + 1, pages.len())), "{text}");
        assert!(text.contains(&report.evidence_sha256[..16]), "page {i} has the digest");
    }
    let all = squeezed(&pages.concat());
    assert!(squeezed(&pages[0]).contains("NOTREADY") && all.contains(&report.evidence_sha256));
    for card in &report.cards {
        assert!(all.contains(&squeezed(&card.id)) && all.contains(&card.hash), "{}", card.id);
        for finding in &card.findings {
            assert!(all.contains(&squeezed(&finding.message)), "{}", finding.message);
        }
    }
}

#[test]
fn many_runs_give_a_period_and_a_difference() {
    let week = 7 * 86_400_000;
    let mut runs: Vec<Evidence> = Vec::new();
    for i in 0..14i64 {
        if i == 5 {
            continue;
        }
        let at = Millis(START.0 + (i - 13) * week);
        let previous = runs.last().map(|e| Link {
            number: e.run.number,
            run: e.run.id.clone(),
            sha256: e.digest().unwrap(),
        });
        runs.push(made("Acme Shop", checks(22, (6..9).contains(&i), at), at, previous).1);
    }
    let (bundle, last) = made("Acme Shop", checks(22, false, START), START, runs[11].run.previous.clone());
    let until = Millis(START.0 + 3_600_000);
    let mut report = Report::of(runs.last().unwrap(), Some(&runs[7]), &Value::Null, None)
        .unwrap()
        .with_files(bundle.files())
        .with_history(runs.iter().map(|e| Past::of(e).unwrap()).collect());
    let period = Period::of(&runs, Millis(START.0 - 13 * week), until, Millis(week)).unwrap();
    assert!(period.unbroken);
    assert_eq!(
        (
            period.due.len(),
            period.due.iter().filter(|d| d.run.is_none()).count(),
            period.extra
        ),
        (14, 1, 0)
    );
    let mended: Vec<_> = period
        .repairs
        .iter()
        .map(|r| (r.check.as_str(), r.failed, r.mended, r.took))
        .collect();
    assert_eq!(mended, [("headers.security", 6, Some(9), Some(3 * week))]);
    let gap = Period::of(
        &[runs[0].clone(), runs[2].clone()],
        Millis(START.0 - 13 * week),
        until,
        Millis(week),
    )
    .unwrap();
    assert!(!gap.unbroken, "a run between the two is missing");
    assert!(Period::of(&runs, until, until, Millis(week)).is_err() && Period::of(&runs, START, until, Millis(0)).is_err());
    assert_eq!(report.history.len(), 12);
    assert_eq!(report.verdict, Verdict::Ready);
    report.period = Some(period);
    let pdf = render(&report, &Look::default()).unwrap();
    keep("period.pdf", &pdf);
    let all = squeezed(&pages(&pdf).concat());
    assert!(all.contains("13;1missing,0besides") && all.contains("21days") && all.contains("missing"));
    drop(last);
}

#[test]
fn odd_texts_long_names_and_nothing_at_all_have_their_page() {
    let long = "the.quick.brown.fox.jumps.over.the.lazy.dog.".repeat(6);
    let mut list = checks(200, true, START);
    for (i, check) in list.iter_mut().enumerate() {
        if i % 7 == 0 {
            check.about.title = format!("{long} Ünïcödé Ελληνικά Кириллица עברית 日本語");
            check.summary = format!("{}{}", "A".repeat(700), " ends here");
        }
        if i % 11 == 0 {
            check.captures[0].text = format!("> GET /\n< 200\n<\n\u{0}\u{202e}\u{fffd}{}", "x".repeat(3_000));
        }
    }
    let (bundle, evidence) = made(&long, list, START, None);
    let report = Report::of(&evidence, None, &Value::Null, None)
        .unwrap()
        .with_files(bundle.files());
    let value = json!({
        "company": format!("Société Générale d'Épreuves & Fils <{long}>"), "title": long, "paper": "Letter", "accent": "#ffe14d",
        "classification": long, "footer": long, "reviewed": {"name": long, "role": "Ünïcödé"},
    });
    let look = Look::of(&value, Path::new(".")).unwrap();
    let pdf = render(&report, &look).unwrap();
    keep("odd.pdf", &pdf);
    let all = squeezed(&pages(&pdf).concat());
    for word in ["Ελληνικά", "Кириллица", "[U+65E5]", "[U+202E]", "endshere", "pageofnothing"] {
        assert_eq!(all.contains(word), word != "pageofnothing", "{word}");
    }
    let doc = Document::load_mem(&pdf).unwrap();
    for id in doc.get_pages().into_values() {
        let size = doc.get_dictionary(id).unwrap().get(b"MediaBox").unwrap().as_array().unwrap();
        let size: Vec<f32> = size.iter().map(|n| n.as_float().unwrap()).collect();
        assert_eq!(size, [0.0, 0.0, 612.0, 792.0]);
    }
    let nothing = render(&report_of(0, false), &Look::default()).unwrap();
    keep("nothing.pdf", &nothing);
    assert!(squeezed(&pages(&nothing).concat()).contains("Nochecktookpart"));
}

#[test]
fn five_hundred_checks_stay_within_their_size() {
    let report = report_of(500, true);
    let begun = std::time::Instant::now();
    let pdf = render(&report, &Look::default()).unwrap();
    let took = begun.elapsed();
    keep("checks-500.pdf", &pdf);
    assert!(pdf.len() <= 3 << 19, "{} bytes", pdf.len());
    // Unoptimised and beside others; the bench holds the figure.
    assert!(took.as_secs() < 60, "{took:?}");
}
