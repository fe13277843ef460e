//! Whether limits are exact over processes: several copies of the test program ask one store at the same
//! time, and together they must get what one caller of the pure rules would, no more and no less.
//!
//! ```ignore
//! #[tokio::test]
//! async fn four_processes_get_what_one_would() {
//!     // In a copy, this serves until the test ends.
//!     if exact::serve(async |url| MyLimits::open(&url).await).await {
//!         return;
//!     }
//!     let mut workers = exact::Workers::start(module_path!(), "four_processes_get_what_one_would", 4, &url);
//!     exact::at_fixed_instants(&mut workers);
//! }
//! ```

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::limits::{Ask, Limits, Op, Quota, State};
use crate::types::{Millis, Tenant};

/// Tells a copy what to ask.
const TARGET: &str = "LEVQOR_EXACT_TARGET";
/// Marks a copy's answers among what test programs print.
const MARK: &str = "levqor-exact ";

/// The same asks, several times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// Name, key and quota of each limit that is asked at once.
    pub asks: Vec<(String, String, Quota)>,
    /// When; the machine's time at each call if not given.
    pub now: Option<Millis>,
    /// How many calls each process makes.
    pub calls: usize,
}

/// What a process got: when each call was decided, and whether it passed.
pub type Answers = Vec<(Millis, bool)>;

/// Serves as a copy, if this process is one: opens limits at the target and asks what it is told until its
/// input ends. Answers whether it was one.
///
/// # Panics
/// If the limits fail, or decide without their store.
pub async fn serve<L: Limits>(open: impl AsyncFnOnce(String) -> L) -> bool {
    let Ok(target) = std::env::var(TARGET) else {
        return false;
    };
    let limits = open(target).await;
    let mut out = std::io::stdout();
    let mut say = |text: &str| {
        // On a line of its own, whatever the test runner has written before.
        let said = writeln!(out, "\n{MARK}{text}").and_then(|()| out.flush());
        assert!(said.is_ok(), "the test is gone");
    };
    say("ready");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let Ok(round) = serde_json::from_str::<Round>(&line) else {
            panic!("not a round: {line}")
        };
        let answers = ask(&limits, &round).await;
        say(&serde_json::to_string(&answers).unwrap_or_default());
    }
    true
}

async fn ask<L: Limits>(limits: &L, round: &Round) -> Answers {
    let asks: Vec<Ask> = round
        .asks
        .iter()
        .map(|(name, key, quota)| Ask::new(name.as_str(), key.as_str(), *quota))
        .collect();
    let tenant = Tenant::default();
    let mut answers = Vec::with_capacity(round.calls);
    for _ in 0..round.calls {
        let now = round.now.unwrap_or_else(SystemClock::machine);
        match limits.take(&tenant, &asks, now).await {
            Ok(d) if !d.degraded => answers.push((d.at, d.admitted)),
            Ok(_) => panic!("decided without the store"),
            Err(e) => panic!("{e}"),
        }
    }
    answers
}

/// Copies of the test program.
pub struct Workers(Vec<Worker>);

struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Workers {
    /// Starts copies that run only the given test: its `module_path!()`, its name, and what its limits are
    /// opened with. They are gone with the value.
    ///
    /// # Panics
    /// If one does not start, or does not [`serve`].
    pub fn start(module: &str, test: &str, copies: usize, target: &str) -> Self {
        // Test names begin behind the crate's.
        let name = match module.split_once("::") {
            Some((_, inner)) => format!("{inner}::{test}"),
            None => test.to_owned(),
        };
        let start = |_| {
            let program = std::env::current_exe().unwrap_or_default();
            let mut child = Command::new(program)
                .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
                .env(TARGET, target)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap_or_else(|e| panic!("the test program cannot be started again: {e}"));
            let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
                panic!("a copy without pipes")
            };
            Worker {
                child,
                orders: Some(orders),
                answers: BufReader::new(answers),
            }
        };
        let mut workers: Vec<Worker> = (0..copies).map(start).collect();
        for worker in &mut workers {
            assert_eq!(worker.hear(), "ready");
        }
        Workers(workers)
    }

    /// Lets all processes make a round's calls at the same time.
    ///
    /// # Panics
    /// If one fails.
    pub fn round(&mut self, round: &Round) -> Vec<Answers> {
        let order = serde_json::to_string(round).unwrap_or_default();
        for worker in &mut self.0 {
            let told = worker.orders.as_mut().map(|to| writeln!(to, "{order}"));
            assert!(matches!(told, Some(Ok(()))), "a copy is gone");
        }
        let answers = |w: &mut Worker| {
            let heard = w.hear();
            serde_json::from_str(&heard).unwrap_or_else(|e| panic!("{heard}: {e}"))
        };
        self.0.iter_mut().map(answers).collect()
    }
}

impl Worker {
    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            match self.answers.read_line(&mut line) {
                Ok(1..) => {}
                _ => panic!("a copy ended without an answer"),
            }
            if let Some(text) = line.trim_end().strip_prefix(MARK) {
                return text.to_owned();
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders.take();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one caller of the pure rules gets.
struct Oracle {
    states: Vec<State>,
    quotas: Vec<Quota>,
}

impl Oracle {
    fn new(quotas: &[Quota]) -> Self {
        let unseen = |q: &Quota| q.rule().map_or_else(|e| panic!("{e}"), |r| r.unseen());
        Oracle {
            states: quotas.iter().map(unseen).collect(),
            quotas: quotas.to_vec(),
        }
    }

    fn take(&mut self, now: Millis) -> bool {
        let mut after = Vec::new();
        for (quota, state) in self.quotas.iter().zip(&self.states) {
            let rule = quota.rule().unwrap_or_else(|e| panic!("{e}"));
            let (verdict, next) = rule.decide(state.clone(), Op::Take, 1, now);
            if !verdict.admitted {
                return false;
            }
            after.push(next);
        }
        self.states = after;
        true
    }
}

/// Every algorithm, and two limits at once, at instants that the test chooses: in each round the processes
/// together must be admitted exactly as often as the oracle. For limits that decide by the `now` they are
/// given.
///
/// # Panics
/// If they are not.
pub fn at_fixed_instants(workers: &mut Workers) {
    let start = Millis(1_700_000_000_000);
    let q = |text: &str| text.parse::<Quota>().unwrap_or_else(|e| panic!("{e}"));
    for (n, quotas) in [
        vec![q("100/second")],
        vec![q("700/minute burst 70")],
        vec![q("100/second fixed")],
        vec![q("100/second sliding")],
        vec![q("100/second log")],
        vec![q("60/second concurrent")],
        vec![q("90/second"), q("40/second fixed")],
    ]
    .into_iter()
    .enumerate()
    {
        let mut oracle = Oracle::new(&quotas);
        for step in 0..8 {
            // Steps that meet boundaries of windows as well as fall between them.
            let now = start + Millis(step * 250);
            let asks = quotas
                .iter()
                .enumerate()
                .map(|(i, quota)| (format!("exact-{n}-{i}"), "hot".to_owned(), *quota))
                .collect();
            let round = Round {
                asks,
                now: Some(now),
                calls: 40,
            };
            let answers = workers.round(&round);
            let calls: usize = answers.iter().map(Vec::len).sum();
            let admitted = answers.iter().flatten().filter(|(_, admitted)| *admitted).count();
            let expected = (0..calls).filter(|_| oracle.take(now)).count();
            assert_eq!(admitted, expected, "{quotas:?}, step {step}: of {calls} calls");
        }
    }
}

/// The same while time goes on, for limits whose store orders all calls by a clock of its own: what was
/// decided is repeated in that order.
///
/// # Panics
/// If the oracle decides a call otherwise.
pub fn by_the_clock_of_the_store(workers: &mut Workers, calls: usize) {
    let quotas: Vec<Quota> = ["200/second burst 20", "150/second log"]
        .map(|text| text.parse().unwrap_or_else(|e| panic!("{e}")))
        .to_vec();
    for (n, quota) in quotas.into_iter().enumerate() {
        let round = Round {
            asks: vec![(format!("flow-{n}"), "hot".to_owned(), quota)],
            now: None,
            calls,
        };
        let mut all: Answers = workers.round(&round).into_iter().flatten().collect();
        // Calls of one millisecond are alike, so only how many of them passed can be compared.
        all.sort_by_key(|(at, _)| *at);
        let mut oracle = Oracle::new(&[quota]);
        for same in all.chunk_by(|a, b| a.0 == b.0) {
            let admitted = same.iter().filter(|(_, admitted)| *admitted).count();
            let expected = same.iter().filter(|(at, _)| oracle.take(*at)).count();
            assert_eq!(admitted, expected, "`{quota}` at {:?}: of {} calls", same[0].0, same.len());
        }
        let admitted = all.iter().filter(|(_, a)| *a).count();
        assert!(admitted > 0 && admitted < all.len(), "the calls do not test the limit");
    }
}
