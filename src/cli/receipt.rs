//! A run for people: what each step took, and what all of it cost.

use crate::engine::{RunView, StepView, Submitted};
use crate::error::Result;
use crate::jobs::{JobState, StepStatus};
use crate::types::{MicroCredits, Millis};

use crate::cli::out::{instant, list, table};

/// What was held and is not spent.
pub(crate) fn released(view: &RunView, submitted: &Submitted) -> Result<MicroCredits> {
    submitted.held.checked_sub(view.captured)
}

/// One line for a step, with its items folded in.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    path: String,
    items: usize,
    failed: usize,
    status: StepStatus,
    attempts: i64,
    from: Millis,
    to: Option<Millis>,
}

fn lines(steps: &[StepView]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut own = Vec::new();
    for step in steps {
        let (path, item) = match step.path.split_once('[') {
            Some((path, _)) => (path, true),
            None => (step.path.as_str(), false),
        };
        let at = lines.iter().position(|l| l.path == path).unwrap_or(lines.len());
        if at == lines.len() {
            lines.push(Line {
                path: path.to_owned(),
                items: 0,
                failed: 0,
                status: step.status,
                attempts: 0,
                from: step.started_at,
                to: step.ended_at,
            });
        }
        let line = &mut lines[at];
        line.from = line.from.min(step.started_at);
        line.to = line.to.max(step.ended_at);
        if item {
            line.items += 1;
            line.failed += usize::from(step.status == StepStatus::Failed);
            line.attempts += step.attempts;
        } else {
            line.status = step.status;
            own.push((at, step.attempts));
        }
    }
    // The attempts of a step over many items are those of its items.
    for (at, attempts) in own {
        if lines[at].items == 0 {
            lines[at].attempts = attempts;
        }
    }
    lines
}

fn span(from: Millis, to: Option<Millis>) -> String {
    to.map_or("-".to_owned(), |to| (to - from).0.to_string())
}

/// The receipt of a run.
pub(crate) fn of(view: &RunView, submitted: Option<&Submitted>) -> String {
    let lines = lines(&view.steps);
    let rows = lines.iter().map(|line| {
        let items = match (line.items, line.failed) {
            (0, _) => "-".to_owned(),
            (n, 0) => n.to_string(),
            (n, failed) => format!("{n} ({failed} failed)"),
        };
        vec![
            line.path.clone(),
            line.status.as_str().to_owned(),
            items,
            line.attempts.to_string(),
            span(line.from, line.to),
        ]
    });
    let mut text = table(&["step", "status", "items", "attempts", "ms"], &[2, 3, 4], rows);
    text.push_str("\n\n");
    let mut pairs = vec![("run", view.id.to_string()), ("state", view.state.as_str().to_owned())];
    if submitted.is_some_and(|s| s.replayed) {
        pairs.push(("", "submitted before under this key".to_owned()));
    }
    if let Some(account) = &view.account {
        pairs.push(("account", account.clone()));
    }
    pairs.push(("attempts", view.attempt.to_string()));
    if view.state.ended() {
        pairs.push(("ms", span(view.created_at, view.ended_at)));
    } else if view.state == JobState::Scheduled {
        pairs.push(("due", instant(view.run_at)));
    }
    let mut credits = Vec::new();
    if let Some(submitted) = submitted {
        credits.push(format!("{} held", submitted.held));
    }
    credits.push(format!("{} captured", view.captured));
    if let Some(released) = submitted.filter(|_| view.state.ended()).and_then(|s| released(view, s).ok()) {
        credits.push(format!("{released} released"));
    }
    pairs.push(("credits", credits.join(", ")));
    if let Some(result) = &view.result {
        pairs.push(("result", result.to_string()));
    }
    if let Some(e) = view.failure() {
        pairs.push(("error", e.message().to_owned()));
    }
    text.push_str(&list(&pairs));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(path: &str, status: StepStatus, attempts: i64, span: (i64, i64)) -> StepView {
        let at = serde_json::json!({
            "path": path, "status": status, "attempts": attempts, "output": null, "error": null,
            "started_at": span.0, "ended_at": span.1,
        });
        serde_json::from_value(at).unwrap()
    }

    #[test]
    fn items_are_folded_into_their_step_wherever_its_own_row_stands() {
        let items = || {
            [
                step("all[0]", StepStatus::Done, 1, (10, 20)),
                step("all[1]", StepStatus::Failed, 3, (12, 40)),
            ]
        };
        let own = || step("all", StepStatus::Done, 2, (9, 41));
        let other = step("allin", StepStatus::Done, 1, (50, 51));
        let expected = Line {
            path: "all".to_owned(),
            items: 2,
            failed: 1,
            status: StepStatus::Done,
            attempts: 4,
            from: Millis(9),
            to: Some(Millis(41)),
        };
        let [a, b] = items();
        assert_eq!(lines(&[own(), a, b, other.clone()])[0], expected);
        let [a, b] = items();
        let folded = lines(&[a, b, own(), other]);
        assert_eq!(folded[0], expected);
        assert_eq!((folded.len(), folded[1].attempts), (2, 1));
    }
}
