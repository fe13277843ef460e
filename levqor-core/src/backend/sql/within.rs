//! A batch inside a transaction of the host's own: what it does counts when the host commits, and is undone with
//! everything else when the host does not.

use async_trait::async_trait;
use sqlx::PgConnection;

use super::conn::{Arg, Conn, Fault};
use super::postgres::{self, CHANNEL, STRIPES};
use super::text::Dialect;
use super::{load, save};
use crate::error::{Error, Result};
use crate::store::{Batch, Grouped, HostTransaction, Receipt, Rows, run, wants};
use crate::table::{Cell, Kind};
use crate::types::random_bytes;

/// How often the batch is run again when somebody else made a row of its just before.
const RACES: u32 = 5;
/// How many rounds of loading it may need.
const ROUNDS: u32 = 64;

/// The host's connection, in the middle of its transaction: ours begins and ends at a savepoint.
struct Within<'a>(&'a mut PgConnection);

#[async_trait]
impl Conn for Within<'_> {
    async fn fetch(&mut self, sql: &str, args: Vec<Arg>, kinds: &[Kind]) -> Result<Vec<Vec<Cell>>, Fault> {
        postgres::fetch(self.0, sql, args, kinds).await
    }

    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<(), Fault> {
        postgres::execute(self.0, sql, args).await
    }

    async fn begin(&mut self, _lasting: bool) -> Result<(), Fault> {
        self.execute("SAVEPOINT levqor", vec![]).await
    }

    async fn begin_read(&mut self) -> Result<(), Fault> {
        self.begin(true).await
    }

    async fn end(&mut self, commit: bool) -> Result<(), Fault> {
        if !commit {
            self.execute("ROLLBACK TO SAVEPOINT levqor", vec![]).await?;
        }
        self.execute("RELEASE SAVEPOINT levqor", vec![]).await
    }
}

#[async_trait]
impl HostTransaction for PgConnection {
    async fn carry_out(&mut self, batch: &Batch) -> Result<Receipt> {
        let stripe = u16::from_be_bytes(random_bytes()) % STRIPES;
        let mut conn = Within(self);
        let mut races = 0;
        loop {
            conn.begin(true).await.map_err(not_open)?;
            let fault = match once(&mut conn, batch, stripe).await {
                Ok(outcome) => {
                    // Of a refused batch, the note under its key stays, as it does elsewhere.
                    conn.end(true).await.map_err(Fault::into_error)?;
                    return outcome;
                }
                Err(fault) => fault,
            };
            conn.end(false).await.map_err(Fault::into_error)?;
            races += 1;
            if !matches!(fault, Fault::Exists(_)) || races > RACES {
                return Err(fault.into_error());
            }
        }
    }
}

fn not_open(fault: Fault) -> Error {
    match fault {
        // Postgres: a savepoint outside a transaction.
        Fault::Other(m) if m.contains("SAVEPOINT") => {
            Error::invalid("store.no_transaction", "the connection is not in a transaction")
                .hint("begin one, and commit it afterwards")
        }
        fault => fault.into_error(),
    }
}

async fn once(conn: &mut Within<'_>, batch: &Batch, stripe: u16) -> Result<Result<Receipt>, Fault> {
    let mut rows = Rows::partial();
    wants(&mut rows, batch, stripe);
    for _ in 0..ROUNDS {
        load::load(&mut rows, conn, Dialect::Postgres).await?;
        let Grouped::Done(mut outcomes) = run(&mut rows, std::iter::once(batch), stripe) else {
            continue;
        };
        save::save(&mut rows, conn, Dialect::Postgres).await?;
        let Some(outcome) = outcomes.pop() else { break };
        if let Ok(receipt) = &outcome
            && !receipt.wakes.is_empty()
        {
            // Heard by everybody when the host commits, and by nobody if it does not.
            let topics = receipt.wakes.join("\n");
            let args = vec![Arg::from(CHANNEL), Arg::from(topics.as_str())];
            conn.execute("SELECT pg_notify($1, $2)", args).await?;
        }
        return Ok(outcome);
    }
    Err(Fault::Other("a batch asks for ever more rows".into()))
}
