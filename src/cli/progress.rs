//! Progress on a terminal: one line for the run, one bar for every step over many items.

use std::collections::{HashMap, HashSet};

use crate::engine::{Engine, RunEvent};
use crate::jobs::StepStatus;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::cli::out::{Out, clean};

/// Progress that is being shown.
pub(crate) struct Shown {
    bars: MultiProgress,
    task: JoinHandle<()>,
}

impl Shown {
    /// Takes the bars away.
    pub(crate) fn end(self) {
        self.task.abort();
        // A bar that cannot be erased hides nothing.
        let _ = self.bars.clear();
    }
}

/// Shows what happens to runs in this process, on standard error if it is a terminal.
pub(crate) fn show(engine: &Engine, out: &Out) -> Shown {
    let target = if out.json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bars = MultiProgress::with_draw_target(target);
    let mut events = engine.events();
    let mut view = View::new(bars.clone());
    let task = tokio::spawn(async move {
        loop {
            match events.recv().await {
                Ok(event) => view.take(&event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
    });
    Shown { bars, task }
}

struct View {
    bars: MultiProgress,
    run: ProgressBar,
    items: HashMap<String, ProgressBar>,
    settled: HashSet<String>,
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl View {
    fn new(bars: MultiProgress) -> Self {
        let run = bars.add(ProgressBar::no_length().with_style(style("{spinner} step {pos}/{len} {elapsed} {msg}")));
        View {
            bars,
            run,
            items: HashMap::new(),
            settled: HashSet::new(),
        }
    }

    fn take(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started { steps, .. } => self.run.set_length(*steps as u64),
            RunEvent::Items {
                run, path, total, done, ..
            } => {
                let bars = &self.bars;
                let bar = self.items.entry(format!("{run}/{path}")).or_insert_with(|| {
                    bars.add(ProgressBar::new(*total as u64).with_style(style("  {msg} [{wide_bar}] {pos}/{len} {eta}")))
                });
                bar.set_message(clean(path));
                bar.set_position(*done as u64);
            }
            RunEvent::Step { run, path, status, .. } => self.step(run.as_str(), path, *status),
            RunEvent::Ended { .. } => self.run.tick(),
            _ => {}
        }
    }

    fn step(&mut self, run: &str, path: &str, status: StepStatus) {
        self.run.set_message(clean(&format!("{path} {}", status.as_str())));
        if !status.settled() || !self.settled.insert(format!("{run}/{path}")) {
            return;
        }
        let (step, item) = path.split_once('[').map_or((path, false), |(step, _)| (step, true));
        let bar = self.items.get(&format!("{run}/{step}"));
        if item {
            bar.inspect(|bar| bar.inc(1));
        } else {
            self.run.inc(1);
            bar.inspect(|bar| bar.finish());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::types::{JobId, Millis};

    use super::*;

    #[test]
    fn an_item_counts_once_and_only_when_it_is_settled() {
        let run = JobId::run(Millis(0));
        let mut view = View::new(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        let step = |path: &str, status| RunEvent::Step {
            run: run.clone(),
            path: path.to_owned(),
            status,
            attempts: 1,
            at: Millis(0),
        };
        view.take(&RunEvent::Items {
            run: run.clone(),
            path: "all".to_owned(),
            total: 5,
            done: 2,
        });
        for status in [StepStatus::Intent, StepStatus::Retrying, StepStatus::Done, StepStatus::Done] {
            view.take(&step("all[2]", status));
        }
        view.take(&step("all[3]", StepStatus::Failed));
        assert_eq!(view.items[&format!("{run}/all")].position(), 4);
        assert_eq!(view.run.position(), 0);
        view.take(&step("all", StepStatus::Done));
        assert_eq!(view.run.position(), 1);
    }
}
