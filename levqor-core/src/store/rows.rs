use super::IdemRow;
use crate::claims::{self, ClaimRow};
use crate::credits::{self, LedgerRows};
use crate::jobs::schedule::ScheduleRows;
use crate::jobs::{self, JournalRow, QueueRows};
use crate::limits::{self, LimitRow};
use crate::records::{self, Record};
use crate::table::Table;
use crate::usage::{self, Usage};

/// Every table.
pub struct Rows {
    /// Idempotency keys.
    pub idem: Table<IdemRow>,
    /// Credits.
    pub ledger: LedgerRows,
    /// Schedules.
    pub schedules: ScheduleRows,
    /// Queues and jobs.
    pub queue: QueueRows,
    /// Steps of runs.
    pub journal: Table<JournalRow>,
    /// Documents.
    pub records: Table<Record>,
    /// Usage events.
    pub usage: Table<Usage>,
    /// What limits remember.
    pub limits: Table<LimitRow>,
    /// Claims.
    pub claims: Table<ClaimRow>,
}

/// Does the same to every table of [`Rows`], in the order in which they are locked and written.
#[macro_export]
#[doc(hidden)]
macro_rules! each_table {
    ($rows:expr, |$t:ident| $do:expr) => {{
        let r = $rows;
        {
            let $t = &mut r.idem;
            $do;
        }
        {
            let $t = &mut r.schedules.all;
            $do;
        }
        {
            let $t = &mut r.schedules.ticks;
            $do;
        }
        {
            let $t = &mut r.queue.settings;
            $do;
        }
        {
            let $t = &mut r.queue.uniques;
            $do;
        }
        {
            let $t = &mut r.queue.jobs;
            $do;
        }
        {
            let $t = &mut r.queue.batches;
            $do;
        }
        {
            let $t = &mut r.ledger.accounts;
            $do;
        }
        {
            let $t = &mut r.ledger.grants;
            $do;
        }
        {
            let $t = &mut r.ledger.sources;
            $do;
        }
        {
            let $t = &mut r.ledger.holds;
            $do;
        }
        {
            let $t = &mut r.ledger.slices;
            $do;
        }
        {
            let $t = &mut r.ledger.txns;
            $do;
        }
        {
            let $t = &mut r.ledger.entries;
            $do;
        }
        {
            let $t = &mut r.journal;
            $do;
        }
        {
            let $t = &mut r.records;
            $do;
        }
        {
            let $t = &mut r.usage;
            $do;
        }
        {
            let $t = &mut r.claims;
            $do;
        }
        {
            let $t = &mut r.limits;
            $do;
        }
    }};
}

/// Where the undo log of every table stood.
#[derive(Clone, Debug)]
pub struct Mark(Vec<usize>);

impl Rows {
    /// Tables that are everything there is.
    pub fn complete() -> Self {
        Rows {
            idem: Table::complete(),
            ledger: LedgerRows::complete(),
            schedules: ScheduleRows::complete(),
            queue: QueueRows::complete(),
            journal: Table::complete(),
            records: Table::complete(),
            usage: Table::complete(),
            limits: Table::complete(),
            claims: Table::complete(),
        }
    }

    /// Tables that hold what is loaded into them.
    pub fn partial() -> Self {
        Rows {
            idem: Table::partial(),
            ledger: LedgerRows::partial(),
            schedules: ScheduleRows::partial(),
            queue: QueueRows::partial(),
            journal: Table::partial(),
            records: Table::partial(),
            usage: Table::partial(),
            limits: Table::partial(),
            claims: Table::partial(),
        }
    }

    /// Where the undo logs stand.
    pub fn mark(&mut self) -> Mark {
        let mut mark = Vec::with_capacity(20);
        each_table!(self, |t| mark.push(t.mark()));
        Mark(mark)
    }

    /// Undoes every change since the mark.
    pub fn rollback(&mut self, mark: &Mark) {
        let mut marks = mark.0.iter();
        each_table!(self, |t| t.rollback(marks.next().copied().unwrap_or(0)));
    }

    /// The first table in which a new row took the place of another since the last time, if any.
    pub(super) fn clash(&mut self) -> Option<&'static str> {
        let mut found = None;
        each_table!(self, |t| found = found.or(t.take_clash()));
        found
    }

    /// The changes stand.
    pub fn settle(&mut self) {
        each_table!(self, |t| t.settle());
    }
}

/// Every table's DDL, in the order of creation: the first migration.
pub const DDL: &[&[&str]] = &[
    &["CREATE TABLE levqor_idem (
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        outcome TEXT NOT NULL,
        recorded_at BIGINT NOT NULL,
        PRIMARY KEY (tenant, key)
    )"],
    credits::DDL,
    jobs::DDL,
    records::DDL,
    usage::DDL,
    limits::DDL,
    claims::DDL,
];
