//! Checks that run against a live system, and the evidence that they leave behind.
//!
//! An [`IntegrityRun`] runs [`Check`]s, all at once, and gives a [`RunResult`]: every check with one of seven
//! [`Status`]es, and a [`Verdict`] in words. What could not be told is never passed. The checks come from a [`Pack`]
//! (TOML, YAML or JSON), or are written by the host. [`evidence`] makes a signed bundle of a result that anybody can
//! verify without this program, and [`formats`] writes what other tools read.
//!
//! This crate knows [`levqor_core`] only: requests go through its transport, time comes from its clock.

pub mod canary;
mod check;
mod checks;
pub mod checkup;
pub mod db;
pub mod deliver;
mod environment;
pub mod evidence;
pub mod formats;
pub mod insights;
mod keep;
mod outcome;
pub mod pack;
#[cfg(feature = "pdf")]
pub mod pdf;
mod probe;
pub mod report;
mod runner;
mod status;
mod tls;
mod waiver;

pub use check::{About, Capture, Check, CheckCx};
pub use checks::{Standard, standard};
pub use checkup::{Checkup, Done};
pub use environment::{Environment, Mask};
pub use keep::{Keeper, Kept};
pub use outcome::{Finding, Level, Outcome};
pub use pack::{Format, Pack};
pub use runner::{Attempt, CheckResult, Event, IntegrityRun, MaskOf, Planned, RunOptions, RunResult};
pub use status::{Counts, Status, Verdict};
pub use tls::Roots;
pub use waiver::Waiver;

use std::fmt::Write as _;

use aws_lc_rs::digest;

/// SHA-256 in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
