use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Credits, kept as whole millionths of a credit.
///
/// Public interfaces take them as an integer of whole credits or as a decimal string with up to six
/// places, never as a float: `"2.5"` is 2,500,000 micro-credits.
///
/// ```
/// use levqor_core::types::MicroCredits;
/// let c: MicroCredits = "2.5".parse().unwrap();
/// assert_eq!(c, MicroCredits(2_500_000));
/// assert_eq!(c.to_string(), "2.5");
/// assert!("0.0000001".parse::<MicroCredits>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroCredits(pub i64);

impl MicroCredits {
    /// Micro-credits in one credit.
    pub const PER_CREDIT: i64 = 1_000_000;
    /// Nothing.
    pub const ZERO: MicroCredits = MicroCredits(0);

    /// Whole credits. `None` if they are more than the type holds (about 9.2 million million).
    pub const fn credits(n: i64) -> Option<Self> {
        match n.checked_mul(Self::PER_CREDIT) {
            Some(micro) => Some(MicroCredits(micro)),
            None => None,
        }
    }

    /// Addition with an error instead of an overflow.
    pub fn checked_add(self, other: MicroCredits) -> Result<MicroCredits> {
        self.0.checked_add(other.0).map(MicroCredits).ok_or_else(overflow)
    }

    /// Subtraction with an error instead of an overflow.
    pub fn checked_sub(self, other: MicroCredits) -> Result<MicroCredits> {
        self.0.checked_sub(other.0).map(MicroCredits).ok_or_else(overflow)
    }

    /// Multiplication by a count with an error instead of an overflow.
    pub fn checked_mul(self, n: i64) -> Result<MicroCredits> {
        self.0.checked_mul(n).map(MicroCredits).ok_or_else(overflow)
    }
}

fn overflow() -> Error {
    Error::invalid("amount.overflow", "the amount is larger than can be kept").hint("amounts end at 9223372036854.775807 credits")
}

impl fmt::Display for MicroCredits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, n) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, part) = (n / 1_000_000, n % 1_000_000);
        if part == 0 {
            return f.pad(&format!("{sign}{whole}"));
        }
        let digits = format!("{part:06}");
        f.pad(&format!("{sign}{whole}.{}", digits.trim_end_matches('0')))
    }
}

impl FromStr for MicroCredits {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(
                "amount.invalid",
                format!("`{}` is not an amount of credits", text.chars().take(40).collect::<String>()),
            )
            .hint("write a decimal number with at most six places, like 12 or 0.25")
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(part) || part.len() > 6 {
            return Err(bad());
        }
        let whole: i64 = whole.parse().map_err(|_| overflow())?;
        let part: i64 = format!("{part:0<6}").parse().map_err(|_| bad())?;
        let signed = |n: i64| if negative { -n } else { n };
        signed(whole)
            .checked_mul(Self::PER_CREDIT)
            .and_then(|micro| micro.checked_add(signed(part)))
            .map(MicroCredits)
            .ok_or_else(overflow)
    }
}

/// In JSON an amount is a decimal string; whole numbers are read too, floats are refused.
impl Serialize for MicroCredits {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MicroCredits {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = MicroCredits;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("credits as a decimal string like \"2.5\" or a whole number")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<MicroCredits, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> std::result::Result<MicroCredits, E> {
                MicroCredits::credits(n).ok_or_else(|| E::custom(overflow()))
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> std::result::Result<MicroCredits, E> {
                i64::try_from(n)
                    .ok()
                    .and_then(MicroCredits::credits)
                    .ok_or_else(|| E::custom(overflow()))
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for MicroCredits {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Credits".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Credits: a whole number, or a decimal string with at most six places.",
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,6})?$"},
                {"type": "integer", "minimum": 0}
            ]
        })
    }
}

/// An amount of money: minor units (cents) of an ISO 4217 currency.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units; 1999 with `EUR` is 19.99 euro.
    pub minor: i64,
    /// Three capital letters.
    pub currency: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_go_through_text_and_json_without_loss() {
        for (text, micro) in [
            ("0", 0),
            ("12", 12_000_000),
            ("0.25", 250_000),
            ("-0.000001", -1),
            ("9223372036854.775807", i64::MAX),
            ("-9223372036854.775808", i64::MIN),
        ] {
            let c: MicroCredits = text.parse().unwrap();
            assert_eq!(c.0, micro, "{text}");
            assert_eq!(c.to_string(), text);
            assert_eq!(
                serde_json::from_value::<MicroCredits>(serde_json::to_value(c).unwrap()).unwrap(),
                c
            );
        }
        assert_eq!(serde_json::from_str::<MicroCredits>("5").unwrap(), MicroCredits(5_000_000));
    }

    #[test]
    fn wrong_amounts_are_refused() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1e3",
            "1,5",
            "+1",
            "0.0000001",
            "9223372036854.775808",
            "٣",
            "NaN",
        ] {
            assert!(text.parse::<MicroCredits>().is_err(), "{text}");
        }
        assert!(
            serde_json::from_str::<MicroCredits>("2.5").is_err(),
            "a float is never an amount"
        );
        assert!(serde_json::from_str::<MicroCredits>("18446744073709551615").is_err());
    }
}
