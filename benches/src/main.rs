//! `levqor-bench [SECTION...]`: measures and writes down. Without a section it measures all of them.
//!
//! A section is a module with a name and a function that returns [`Row`]s. Rows go to `benches/results.json`,
//! where they replace the earlier rows of their section, and `benches/RESULTS.md` is made from that file.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for a terminal")]
#![allow(clippy::cast_precision_loss, reason = "counts that are measured are small")]

mod connectors;
mod credits;
mod duel;
mod engine;
mod ground;
mod growth;
mod growth_fill;
mod harness;
mod jobs;
mod jobs_raw;
mod jobs_start;
mod limits;
mod limits_hosts;
mod limits_redis;
mod limits_shm;
mod noop;
mod peers;
mod plot;
mod results;
mod workflows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use results::Row;

/// Measures everything in a section.
type Measure = fn() -> Result<Vec<Row>, String>;

/// What is measured, in the order of the report. A new section is a module and a line here.
const SECTIONS: &[(&str, Measure)] = &[
    ("ground", || Ok(ground::rows())),
    ("engine", engine::rows),
    ("limits", || Ok(limits::rows())),
    ("limits-redis", || Ok(limits_redis::rows())),
    ("limits-shm", || Ok(limits_shm::rows())),
    ("limits-python", || Ok(limits_hosts::python())),
    ("limits-node", || Ok(limits_hosts::node())),
    ("credits", credits::rows),
    ("jobs", jobs::rows),
    ("workflows", workflows::rows),
    ("growth", growth::rows),
    ("connectors", connectors::rows),
];

fn main() -> ExitCode {
    if limits_shm::is_worker() || jobs_start::is_worker() {
        return ExitCode::SUCCESS;
    }
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|name| SECTIONS.iter().all(|(s, _)| s != name)) {
        let names: Vec<&str> = SECTIONS.iter().map(|(s, _)| *s).collect();
        eprintln!("error: there is no section `{unknown}`; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    match run(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(asked: &[String]) -> Result<(), String> {
    if cfg!(debug_assertions) {
        eprintln!("note: this is a debug build; its numbers mean nothing (use `make bench`)");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fsync = harness::fsync_p50_us(&target_folder(), 200).map_err(|e| format!("the disk could not be measured: {e}"))?;
    println!("fsync of 4 KiB, p50: {fsync:.0} us");

    for (section, measure) in SECTIONS {
        if !asked.is_empty() && !asked.iter().any(|name| name == section) {
            continue;
        }
        let mut rows = measure().map_err(|e| format!("section {section}: {e}"))?;
        for row in &mut rows {
            (*section).clone_into(&mut row.section);
            if row.fsync_p50_us == 0.0 {
                row.fsync_p50_us = fsync;
            }
            println!("{}", row.line());
        }
        // Saved after each section, so that a fault in a later one loses nothing.
        results::save(folder, section, rows)?;
    }
    Ok(())
}

/// The folder this program was built into: a disk that builds and tests use too.
pub(crate) fn target_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.parent().map_or_else(std::env::temp_dir, Path::to_path_buf)
}
