//! Waivers: somebody takes responsibility for a failure, for a reason, until a date.

use jiff::civil::Date;
use levqor_core::types::Millis;
use serde::{Deserialize, Serialize};

/// A failure that is accepted for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// The check.
    pub check: String,
    /// Only this cause; every one if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Why it is accepted.
    pub reason: String,
    /// Who takes responsibility.
    pub owner: String,
    /// The last day on which it holds (UTC), `2026-12-31`, or an instant as RFC 3339 text.
    pub expires: String,
}

impl Waiver {
    /// From when on it does not hold any more. What cannot be read has never held.
    pub fn until(&self) -> Millis {
        parse_until(&self.expires).unwrap_or(Millis(i64::MIN))
    }
}

/// The end of a day in UTC, or an instant.
pub(crate) fn parse_until(text: &str) -> Option<Millis> {
    if let Ok(day) = text.parse::<Date>()
        && text.len() == 10
    {
        let next = day.tomorrow().ok()?;
        let midnight = next.at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        return Some(Millis(midnight.timestamp().as_millisecond()));
    }
    Millis::parse_rfc3339(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_over_at_its_end() {
        for (text, until) in [
            ("2026-12-31", Some("2027-01-01T00:00:00.000Z")),
            ("2026-12-31T12:00:00Z", Some("2026-12-31T12:00:00.000Z")),
            ("2026-13-01", None),
            ("soon", None),
        ] {
            assert_eq!(parse_until(text).map(Millis::rfc3339).as_deref(), until, "{text}");
        }
    }
}
