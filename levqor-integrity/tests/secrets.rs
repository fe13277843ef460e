//! Forty secrets of the environment are in no output, however the system throws them back.
#![allow(clippy::unwrap_used, clippy::format_collect, clippy::items_after_statements)]

mod support;

use levqor_core::types::random_bytes;
use levqor_integrity::evidence::{Bundle, Context, Signer};
use levqor_integrity::report::Report;
use levqor_integrity::{Keeper, formats};
use support::World;

/// Everything that a PDF says: its texts without line ends, and its streams and strings decompressed.
fn inside(pdf: &[u8]) -> (String, Vec<u8>) {
    let mut doc = lopdf::Document::load_mem(pdf).unwrap();
    let pages: Vec<u32> = doc.get_pages().into_keys().collect();
    let texts = doc.extract_text(&pages).unwrap().replace('\n', "");
    doc.decompress();
    let mut streams = Vec::new();
    doc.save_to(&mut streams).unwrap();
    for object in doc.objects.values().filter_map(|o| o.as_dict().ok()) {
        for (_, value) in object {
            if let Ok(text) = value.as_str() {
                let wide: Vec<u16> = text.chunks_exact(2).map(|p| u16::from_be_bytes([p[0], p[1]])).collect();
                streams.extend_from_slice(String::from_utf16_lossy(&wide).as_bytes());
            }
        }
    }
    (texts, streams)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves() {
    let mut world = World::start().await;
    world.fault("health.secret");
    world.fault("log.leak");
    let mut secrets: Vec<String> = world.env.iter().map(|(_, v)| v.clone()).collect();
    for i in 0..35 {
        let hex: String = random_bytes::<18>().iter().map(|b| format!("{b:02x}")).collect();
        let (name, value) = match i % 5 {
            0 => (format!("CANARY_{i}"), format!("canary{hex}")),
            1 => (format!("SERVICE_{i}_TOKEN"), format!("tok-{hex}")),
            2 => (format!("DB_{i}"), format!("postgres://app:{hex}@db.example.com/shop")),
            3 => (format!("SOME_{i}_PASSWORD"), format!("p w\"\\{hex}")),
            _ => (format!("PLAIN_{i}"), format!("{hex}Q")),
        };
        secrets.push(if i % 5 == 2 { hex } else { value.clone() });
        world.set(&name, Some(&value));
    }
    assert_eq!(secrets.len(), 40);
    // Malformed ones are complained about, and not shown.
    let bad = format!("{}_live_{}", "pk", "51HqT9vKxLm2Rz8WnB4cYdE6f");
    world.set("STRIPE_SECRET_KEY", Some(&bad));
    secrets.push(bad);
    let result = world.run().await;
    let pack = world.pack();
    let folder = world.folder.path().join("evidence");
    let keeper = Keeper {
        formats: formats::FORMATS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        ..Keeper::new(folder, Signer::generate().unwrap())
    };
    let (bundle, evidence) = keeper.bundle(&result, &pack, &Context::of(&pack), &[]).unwrap();
    let mut bundle = bundle;
    let report = Report::of(&evidence, None, &pack.report, None).unwrap();
    bundle = bundle.attach("report.json", serde_json::to_vec(&report).unwrap());
    bundle = bundle.attach("debug.txt", format!("{result:?}").into_bytes());
    let pdf = Bundle::pdf_name(&evidence);
    let (texts, streams) = inside(&bundle.files()[&pdf]);
    let says = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("[redacted]");
    assert!(
        bundle.files().values().any(|bytes| says(bytes)),
        "what was sent back is kept, without the secret"
    );
    bundle = bundle.attach("pdf.texts", texts.into_bytes()).attach("pdf.streams", streams);
    let bundle = bundle.sign(&keeper.signer, &evidence).unwrap();
    assert!(bundle.files().len() > 30);
    for (name, bytes) in bundle.files() {
        let text = String::from_utf8_lossy(bytes);
        for secret in &secrets {
            let hash: String = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes())
                .as_ref()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let start: String = secret.chars().take(16).collect();
            for (what, needle) in [
                ("value", secret.as_str()),
                ("hash", &hash[..16]),
                ("beginning", start.as_str()),
            ] {
                assert!(!text.contains(needle), "{name} holds the {what} of a secret");
            }
        }
    }
}
