use super::{Batch, Receipt, Rows};
use crate::error::Result;
use crate::table::Stop;

/// What became of a group of batches.
#[derive(Debug)]
pub enum Grouped {
    /// Every batch has its answer; the rows hold what is to be written.
    Done(Vec<Result<Receipt>>),
    /// Rows are missing: load what the tables want, and run the group again.
    Missing,
}

/// Runs a group of batches over the rows, one after another, as if each were alone: a batch that is
/// refused changes nothing and harms no other.
///
/// Until every row that they touch is loaded, the rows are left as they were.
pub fn run<'a>(rows: &mut Rows, batches: impl Iterator<Item = &'a Batch>, stripe: u16) -> Grouped {
    let start = rows.mark();
    let mut outcomes = Vec::new();
    let mut missing = false;
    for batch in batches {
        match super::apply(rows, batch, stripe) {
            Ok(outcome) => outcomes.push(outcome),
            Err(Stop::Refused(e)) => outcomes.push(Err(e)),
            Err(Stop::Missing) => missing = true,
        }
    }
    if missing {
        rows.rollback(&start);
        return Grouped::Missing;
    }
    Grouped::Done(outcomes)
}
