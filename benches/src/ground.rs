//! The ground floor: what every call pays for an id and an amount.

use std::hint::black_box;

use levqor::clock::SystemClock;
use levqor::types::{JobId, MicroCredits};

use crate::harness::ns_per_call;
use crate::results::Row;

pub(crate) fn rows() -> Vec<Row> {
    let now = SystemClock::machine();
    vec![
        Row::new("make an id", ns_per_call(|| JobId::run(black_box(now))), "ns"),
        Row::new(
            "read an amount of credits",
            ns_per_call(|| black_box("1234.567891").parse::<MicroCredits>()),
            "ns",
        ),
        Row::new(
            "write an amount of credits",
            ns_per_call(|| black_box(MicroCredits(1_234_567_891)).to_string()),
            "ns",
        ),
    ]
}
