//! What a decision tells an HTTP client.
//!
//! Two families, both on answers that passed and answers that were refused: the `X-RateLimit-*` fields
//! everybody knows (limit and remaining of the tightest limit, reset as seconds since 1970), and the
//! `RateLimit-Policy` and `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers-11, which list every
//! limit: lists of RFC 9651 strings with parameters. Refusals carry `Retry-After` (RFC 9110, 10.2.3).

use std::fmt::Write as _;

use super::policy::Reason;
use super::port::{AskOutcome, Decision};
use super::quota::Algorithm;
use crate::types::Millis;

/// Which header fields to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderStyle {
    /// Both families.
    #[default]
    All,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    Legacy,
    /// `RateLimit-Policy` and `RateLimit`.
    Standard,
    /// Neither, only `Retry-After` on refusals.
    None,
}

impl Decision {
    /// The header fields of both families.
    pub fn headers(&self) -> Vec<(String, String)> {
        self.headers_in(HeaderStyle::All)
    }

    /// The header fields in a style. Nothing if nothing was asked.
    pub fn headers_in(&self, style: HeaderStyle) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
        if let Some(tightest) = self
            .tightest()
            .filter(|_| matches!(style, HeaderStyle::All | HeaderStyle::Legacy))
        {
            add("X-RateLimit-Limit", tightest.limit.to_string());
            add("X-RateLimit-Remaining", tightest.remaining.to_string());
            add(
                "X-RateLimit-Reset",
                (self.at + tightest.effective_window()).as_secs_ceil().to_string(),
            );
        }
        if !self.asks.is_empty() && matches!(style, HeaderStyle::All | HeaderStyle::Standard) {
            add("RateLimit-Policy", list(&self.asks, AskOutcome::policy_item));
            add("RateLimit", list(&self.asks, AskOutcome::service_item));
        }
        if let Some(wait) = self.retry_after {
            add("Retry-After", wait.as_secs_ceil().max(1).to_string());
        }
        fields
    }
}

fn list(asks: &[AskOutcome], item: impl Fn(&AskOutcome) -> String) -> String {
    asks.iter().map(item).collect::<Vec<_>>().join(", ")
}

impl AskOutcome {
    /// The time within which a client can use no more than what remains: until the call passes if it was
    /// refused (so that `Retry-After` never lies before its end), else until the quota is whole again.
    fn effective_window(&self) -> Millis {
        self.retry_after.unwrap_or(self.reset_after)
    }

    /// `"name";q=60;w=60`, and `"name";q=4;qu="concurrent-requests"` for calls in flight. A window of a part of a second is given as one second with the units that fit
    /// into it, since the field knows whole seconds only.
    fn policy_item(&self) -> String {
        if self.quota.algorithm_used() == Algorithm::Concurrency {
            return format!("{};q={};qu=\"concurrent-requests\"", quoted(&self.name), self.limit);
        }
        let period = self.quota.period().0.max(1);
        let (units, window) = match period % 1_000 {
            0 => (i64::from(self.limit), period / 1_000),
            _ if period < 1_000 => (i64::from(self.limit) * 1_000 / period, 1),
            _ => (i64::from(self.limit), period / 1_000 + 1),
        };
        let mut item = format!("{};q={units};w={window}", quoted(&self.name));
        if self.quota.capacity() != self.limit {
            let _ = write!(item, ";levqor-burst={}", self.quota.capacity());
        }
        item
    }

    /// `"name";r=59;t=12`. Calls in flight have no window, so a `t` only if the call was refused.
    fn service_item(&self) -> String {
        let remaining = if matches!(self.reason, Some(Reason::Blocked | Reason::Denied)) {
            0
        } else {
            self.remaining
        };
        let mut item = format!("{};r={remaining}", quoted(&self.name));
        if self.quota.algorithm_used() != Algorithm::Concurrency || self.retry_after.is_some() {
            let _ = write!(item, ";t={}", self.effective_window().as_secs_ceil());
        }
        item
    }
}

/// A string of RFC 9651, section 4.1.6. Names are printable ASCII, so only these two need escaping.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use crate::limits::{Ask, Quota, Verdict};
    use crate::types::Millis;

    use super::*;

    fn decision(asks: &[Ask], refused: bool) -> Decision {
        let v = |n: usize| Verdict {
            admitted: !refused || n == 0,
            remaining: if refused && n > 0 { 0 } else { 9 },
            reset_after: Millis(1_001),
            retry_after: (refused && n > 0).then_some(Millis(4_001)),
            ready_after: Millis::ZERO,
            reason: (refused && n > 0).then_some(Reason::Exceeded),
        };
        Decision::new(asks, (0..asks.len()).map(v), Millis(1_700_000_000_000))
    }

    fn get(fields: &[(String, String)], name: &str) -> Option<String> {
        fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
    }

    #[test]
    fn both_families_name_every_limit_and_the_tightest() {
        let asks = [
            Ask::new("runs", "k", Quota::per_minute(60).burst(10)),
            Ask::new("a \"b\" \\", "k", Quota::per_day(1_000)),
        ];
        let fields = decision(&asks, true).headers();
        assert_eq!(
            get(&fields, "RateLimit-Policy").as_deref(),
            Some(r#""runs";q=60;w=60;levqor-burst=10, "a \"b\" \\";q=1000;w=86400"#)
        );
        assert_eq!(
            get(&fields, "RateLimit").as_deref(),
            Some(r#""runs";r=9;t=2, "a \"b\" \\";r=0;t=5"#)
        );
        assert_eq!(get(&fields, "X-RateLimit-Limit").as_deref(), Some("1000"));
        assert_eq!(get(&fields, "X-RateLimit-Remaining").as_deref(), Some("0"));
        assert_eq!(get(&fields, "X-RateLimit-Reset").as_deref(), Some("1700000005"));
        assert_eq!(get(&fields, "Retry-After").as_deref(), Some("5"));
        let fields = decision(&asks, false).headers();
        assert_eq!(get(&fields, "Retry-After"), None);
        assert_eq!(
            get(&fields, "X-RateLimit-Limit").as_deref(),
            Some("1000"),
            "9 of 1000 is tighter than 9 of 60"
        );
    }

    #[test]
    fn styles_leave_the_other_family_out() {
        let d = decision(
            &[
                Ask::new("runs", "k", Quota::per_minute(60)),
                Ask::new("x", "k", Quota::per_day(9)),
            ],
            true,
        );
        let names = |style| d.headers_in(style).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(HeaderStyle::Standard), ["RateLimit-Policy", "RateLimit", "Retry-After"]);
        assert_eq!(names(HeaderStyle::None), ["Retry-After"]);
        assert_eq!(names(HeaderStyle::Legacy).len(), 4);
        assert!(decision(&[], false).headers().is_empty());
    }

    #[test]
    fn calls_in_flight_are_told_in_their_own_unit() {
        let asks = [
            Ask::new("at-once", "k", Quota::concurrent(4, Millis::secs(30))),
            Ask::new("runs", "k", Quota::per_minute(60)),
        ];
        let fields = decision(&asks, false).headers();
        assert_eq!(
            get(&fields, "RateLimit-Policy").as_deref(),
            Some(r#""at-once";q=4;qu="concurrent-requests", "runs";q=60;w=60"#)
        );
        assert_eq!(get(&fields, "RateLimit").as_deref(), Some(r#""at-once";r=9, "runs";r=9;t=2"#));
    }

    #[test]
    fn windows_of_parts_of_a_second_are_told_as_whole_ones() {
        let policy = |quota| {
            let d = decision(&[Ask::new("p", "k", quota)], false);
            get(&d.headers(), "RateLimit-Policy")
        };
        assert_eq!(policy(Quota::new(10, Millis(250))).as_deref(), Some("\"p\";q=40;w=1"));
        assert_eq!(policy(Quota::new(10, Millis(2_500))).as_deref(), Some("\"p\";q=10;w=3"));
    }
}
