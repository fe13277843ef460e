//! Ours and the peers' figures of several rounds, and the rows made from them.

use std::collections::HashMap;
use std::time::Instant;

use crate::harness::{fsync_p50_us, median};
use crate::peers::Peer;
use crate::results::{Row, number};

/// Figures of a section as they come in. Rounds of ours and of the peers alternate, so that what else the machine
/// does meets all alike; the medians are compared.
#[derive(Default)]
pub(crate) struct Duel {
    ours: Vec<Ours>,
    theirs: Vec<Theirs>,
    /// Peers that failed, and why.
    failed: HashMap<&'static str, (Peer, String)>,
}

struct Ours {
    name: String,
    unit: &'static str,
    synchronous: Option<&'static str>,
    /// The peers' figures that it is compared with.
    against: Vec<&'static str>,
    values: Vec<f64>,
    fsyncs: Vec<f64>,
}

struct Theirs {
    peer: String,
    version: String,
    figure: String,
    unit: String,
    values: Vec<f64>,
}

/// Where a figure of ours was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// SQLite, with what its `synchronous` was.
    Sqlite(&'static str),
    /// Anywhere else.
    Other,
}

impl Duel {
    /// Adds a value of ours; `against` names figures of peers.
    pub(crate) fn ours(&mut self, name: &str, place: Place, value: f64, unit: &'static str, against: &[&'static str]) {
        let fsync = fsync_p50_us(&crate::target_folder(), 50).unwrap_or_default();
        let at = self.ours.iter().position(|o| o.name == name).unwrap_or_else(|| {
            self.ours.push(Ours {
                name: name.to_owned(),
                unit,
                synchronous: match place {
                    Place::Sqlite(mode) => Some(mode),
                    Place::Other => None,
                },
                against: against.to_vec(),
                values: Vec::new(),
                fsyncs: Vec::new(),
            });
            self.ours.len() - 1
        });
        let ours = &mut self.ours[at];
        // The median is told in the end; this shows that it goes on.
        eprintln!("note: {name}: {} {unit}", number(value));
        ours.values.push(value);
        ours.fsyncs.push(fsync);
    }

    /// Runs a peer and adds what it tells. One that failed before is not run again.
    pub(crate) fn peer(&mut self, peer: &Peer, env: &[(&str, String)]) {
        if self.failed.contains_key(peer.name) {
            return;
        }
        let start = Instant::now();
        match peer.run(env) {
            Ok(figures) => {
                eprintln!("note: {}: {:.0} s", peer.name, start.elapsed().as_secs_f64());
                for f in figures {
                    self.theirs(&f.peer, &f.version, &f.name, &f.unit, f.value);
                }
            }
            Err(why) => self.fault(peer, why),
        }
    }

    /// Adds a value of a peer that needs no child.
    pub(crate) fn theirs(&mut self, peer: &str, version: &str, figure: &str, unit: &str, value: f64) {
        let same = |t: &&mut Theirs| t.peer == peer && t.figure == figure;
        match self.theirs.iter_mut().find(same) {
            Some(theirs) => theirs.values.push(value),
            None => self.theirs.push(Theirs {
                peer: peer.to_owned(),
                version: version.to_owned(),
                figure: figure.to_owned(),
                unit: unit.to_owned(),
                values: vec![value],
            }),
        }
    }

    /// Adds what a script of ours tells: figures of a binding, compared with the peers' of the same name.
    pub(crate) fn host(&mut self, binding: &Peer) {
        match binding.run(&[]) {
            Ok(figures) => {
                for figure in figures {
                    if let Some(name) = binding.figures.iter().find(|name| **name == figure.name) {
                        self.ours(name, Place::Other, figure.value, "ns", &[name]);
                    }
                }
            }
            Err(why) => self.fault(binding, why),
        }
    }

    fn fault(&mut self, peer: &Peer, why: String) {
        eprintln!("warning: {}: {why}", peer.name);
        self.failed.insert(peer.name, (peer.clone(), why));
    }

    /// A row for each figure of ours and each peer that has the same; one without a peer where none has.
    pub(crate) fn rows(self) -> Vec<Row> {
        let mut rows = Vec::new();
        for ours in &self.ours {
            let value = median(ours.values.clone());
            let row = Row {
                fsync_p50_us: median(ours.fsyncs.clone()),
                synchronous: ours.synchronous.map(str::to_owned),
                ..Row::new(&ours.name, value, ours.unit)
            };
            let before = rows.len();
            for theirs in self.theirs.iter().filter(|t| ours.against.contains(&t.figure.as_str())) {
                let other = median(theirs.values.clone());
                rows.push(Row {
                    theirs: Some(other),
                    ..row
                        .clone()
                        .beside(&theirs.peer, &theirs.version, ratio(value, other, ours.unit))
                });
            }
            let mut failed: Vec<_> = self.failed.values().collect();
            failed.sort_by_key(|(peer, _)| peer.name);
            for (peer, why) in failed {
                if peer.figures.iter().any(|figure| ours.against.contains(figure)) {
                    rows.push(Row {
                        peer: Some(peer.name.to_owned()),
                        note: Some(why.clone()),
                        ..row.clone()
                    });
                }
            }
            if rows.len() == before {
                rows.push(row);
            }
        }
        // What only peers could do stays visible, with the reason if ours was tried.
        let ours_failed = self
            .failed
            .values()
            .map(|(_, why)| why)
            .next()
            .filter(|_| self.ours.is_empty());
        for theirs in &self.theirs {
            if self.ours.iter().all(|o| !o.against.contains(&theirs.figure.as_str())) {
                rows.push(Row {
                    ours: None,
                    peer: Some(theirs.peer.clone()),
                    peer_version: Some(theirs.version.clone()),
                    theirs: Some(median(theirs.values.clone())),
                    note: ours_failed.map(|why| format!("ours: {why}")),
                    ..Row::new(&theirs.figure, 0.0, &theirs.unit)
                });
            }
        }
        rows
    }
}

/// Above 1 where ours is the better one: a rate is better if it is higher, a time if it is lower.
fn ratio(ours: f64, theirs: f64, unit: &str) -> f64 {
    if unit.ends_with("/s") { ours / theirs } else { theirs / ours }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Runs;

    fn peer(name: &'static str, script: &'static str) -> Peer {
        Peer {
            name,
            runs: Runs::Bash,
            script,
            args: &[],
            figures: &["spend"],
        }
    }

    #[test]
    fn ours_stands_beside_each_peer_and_a_missing_one_is_told() {
        let mut duel = Duel::default();
        for value in [10.0, 30.0, 20.0] {
            duel.ours("spend, SQLite", Place::Sqlite("FULL"), value, "ops/s", &["spend"]);
        }
        duel.ours("alone", Place::Other, 1.0, "ms", &[]);
        for value in [4.0, 2.0, 3.0] {
            duel.theirs.push(Theirs {
                peer: format!("peer {value}"),
                version: "1".into(),
                figure: "spend".into(),
                unit: "ops/s".into(),
                values: vec![value],
            });
        }
        duel.peer(&peer("missing", "there-is-no-such.sh"), &[]);
        let rows = duel.rows();
        let told: Vec<_> = rows.iter().map(|r| (r.peer.as_deref(), r.ratio)).collect();
        assert_eq!(
            told,
            [
                (Some("peer 4"), Some(5.0)),
                (Some("peer 2"), Some(10.0)),
                (Some("peer 3"), Some(20.0 / 3.0)),
                (Some("missing"), None),
                (None, None)
            ]
        );
        assert_eq!((rows[0].ours, rows[0].synchronous.as_deref()), (Some(20.0), Some("FULL")));
        assert!(
            rows[3].note.as_deref().is_some_and(|n| n.starts_with("peer failed")),
            "{:?}",
            rows[3].note
        );
    }

    #[test]
    fn a_rate_is_better_higher_and_a_time_lower() {
        assert_eq!(ratio(30.0, 10.0, "jobs/s").to_bits(), 3.0_f64.to_bits());
        assert_eq!(ratio(10.0, 30.0, "ms").to_bits(), 3.0_f64.to_bits());
    }
}
