//! Limits as a host in Python or Node asks for them, beside what hosts there use.

use crate::duel::Duel;
use crate::peers::{Peer, Runs};
use crate::results::Row;

const PYTHON: [&str; 3] = ["from Python, 1 key", "from Python, 100 k keys", "from Python, 1 M keys"];
const NODE: [&str; 3] = ["from Node, 1 key", "from Node, 100 k keys", "from Node, 1 M keys"];

pub(crate) fn python() -> Vec<Row> {
    section(Runs::Python, "limits_python.py", &PYTHON)
}

pub(crate) fn node() -> Vec<Row> {
    section(Runs::Node, "limits_node.mjs", &NODE)
}

/// Ours is a script like the peers', since it needs the binding; without it only the peers are told.
fn section(runs: Runs, script: &'static str, figures: &'static [&'static str]) -> Vec<Row> {
    let of = |name, args| Peer {
        name,
        runs,
        script,
        args,
        figures,
    };
    let mut duel = Duel::default();
    duel.host(&of("the binding of Levqor", &["ours"]));
    duel.peer(&of("the peers", &["peer"]), &[]);
    duel.rows()
}
