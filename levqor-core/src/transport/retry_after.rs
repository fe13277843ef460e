use jiff::fmt::rfc2822;
use jiff::fmt::strtime;

use crate::types::Millis;

/// The longest wait that an answer can ask for; a longer one (or nonsense) is cut to it, so that a hostile
/// header cannot put a run away for ever.
const LONGEST: Millis = Millis::hours(24);

/// How long an answer asks us to wait: `Retry-After-Ms`, or `Retry-After` in seconds or as an HTTP date in any
/// of its three forms (RFC 9110, 10.2.3 and 5.6.7). `None` if it does not ask, or not so that it can be read.
///
/// Header names are given in lower case.
pub fn retry_after(headers: &[(String, String)], now: Millis) -> Option<Millis> {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.trim());
    let in_millis = header("retry-after-ms").and_then(|v| decimal(v, 1));
    let in_seconds = || header("retry-after").and_then(|v| decimal(v, 1_000).or_else(|| Some(http_date(v)? - now)));
    in_millis.or_else(in_seconds).map(|wait| wait.clamp(Millis::ZERO, LONGEST))
}

/// A number without sign, with or without decimals, in units of so many milliseconds; rounded up.
fn decimal(text: &str, unit: i64) -> Option<Millis> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let whole = whole.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(unit);
    let part: String = part.chars().chain("000".chars()).take(4).collect();
    let thousandths = part.get(..3)?.parse::<i64>().ok()? + i64::from(part.ends_with(|c| c > '0') && part.len() == 4);
    Some(Millis(whole.saturating_add((thousandths * unit + 999) / 1_000)))
}

fn http_date(text: &str) -> Option<Millis> {
    if let Ok(at) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Some(Millis(at.as_millisecond()));
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|format| {
            let at = strtime::parse(format, text).ok()?.to_datetime().ok()?;
            Some(Millis(
                at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond(),
            ))
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_header_is_read() {
        // 1994-11-06T08:49:37Z, the date of the RFC's examples.
        let then = 784_111_777_000;
        for (name, value, expected) in [
            ("retry-after", "120", Some(120_000)),
            ("retry-after", " 0 ", Some(0)),
            ("retry-after", "1.5", Some(1_500)),
            ("retry-after", "0.0001", Some(1)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after-ms", "12.25", Some(13)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", Some(7_000)),
            ("retry-after", "Sunday, 06-Nov-94 08:49:37 GMT", Some(7_000)),
            ("retry-after", "Sun Nov  6 08:49:37 1994", Some(7_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("retry-after", "99999999999999999999999", Some(86_400_000)),
            ("retry-after", "Tue, 06 Nov 2294 08:49:37 GMT", Some(86_400_000)),
            ("retry-after", "-5", None),
            ("retry-after", "soon", None),
            ("retry-after", "", None),
            ("x-other", "5", None),
        ] {
            let headers = [(name.to_owned(), value.to_owned())];
            let wait = retry_after(&headers, Millis(then - 7_000));
            assert_eq!(wait, expected.map(Millis), "{name}: {value}");
        }
    }
}
