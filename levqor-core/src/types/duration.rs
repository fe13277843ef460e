use super::Millis;
use crate::error::{Error, Result};

/// Reads a span as people write it: `250ms`, `10s`, `5m`, `2h`, `7d`, or several parts, `1h30m`.
///
/// A bare number is refused, since nobody knows its unit.
///
/// ```
/// use levqor_core::types::{Millis, parse_duration};
/// assert_eq!(parse_duration("1h30m").unwrap(), Millis(5_400_000));
/// assert!(parse_duration("30").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Millis> {
    let bad = |why: &str| {
        Error::invalid(
            "duration.invalid",
            format!("`{}` is not a duration: {why}", text.chars().take(40).collect::<String>()),
        )
        .hint("write a number with a unit: 250ms, 10s, 5m, 2h or 7d")
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad("it is empty"));
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(|| bad("the unit is missing"))?;
        let n: i64 = rest[..digits].parse().map_err(|_| bad("a number is missing or too large"))?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match rest[..unit_end].trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad("the unit is none of ms, s, m, h, d")),
        };
        total = n
            .checked_mul(factor)
            .and_then(|ms| total.checked_add(ms))
            .ok_or_else(|| bad("it is too long"))?;
        rest = &rest[unit_end..];
    }
    Ok(Millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_or_refused() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("1m30s", 90_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Millis(ms), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 parsecs",
            "-5s",
            "1.5s",
            "99999999999999999999s",
            "9223372036854775807d",
            "5s!",
        ] {
            assert_eq!(parse_duration(text).unwrap_err().code(), "duration.invalid", "{text}");
        }
    }
}
