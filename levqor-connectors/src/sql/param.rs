//! Values of JSON as parameters of the types that the server inferred, in Postgres's binary format
//! (<https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES>, and the `*_recv`
//! functions of the server's sources).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use levqor_core::error::{Error, Result};
use levqor_core::types::Millis;
use serde_json::Value;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgTypeKind, Postgres};
use sqlx::{Type, TypeInfo as _};

/// Seconds from 1970 to 2000, where Postgres begins to count.
const EPOCH: i64 = 946_684_800;

/// A value and its type; `None` for NULL.
pub(super) struct Param {
    kind: PgTypeInfo,
    bytes: Option<Vec<u8>>,
}

impl Param {
    /// Fails with `sql.parameter_invalid`, or with `sql.parameter_type` for a type that is not known here.
    pub(super) fn of(kind: &PgTypeInfo, value: &Value) -> Result<Self> {
        Ok(Param {
            bytes: encode(kind, value)?,
            kind: kind.clone(),
        })
    }
}

impl Type<Postgres> for Param {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("text")
    }

    fn compatible(_: &PgTypeInfo) -> bool {
        true
    }
}

impl Encode<'_, Postgres> for Param {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        Ok(match &self.bytes {
            None => IsNull::Yes,
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                IsNull::No
            }
        })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.clone())
    }
}

fn encode(kind: &PgTypeInfo, value: &Value) -> Result<Option<Vec<u8>>> {
    if value.is_null() {
        return Ok(None);
    }
    if let (PgTypeKind::Array(inner), Value::Array(list)) = (kind.kind(), value) {
        return array(inner, list).map(Some);
    }
    if let PgTypeKind::Domain(inner) = kind.kind() {
        return encode(inner, value);
    }
    let name = kind.name();
    let text = || match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    let bytes = match name.to_ascii_uppercase().as_str() {
        "TEXT" | "VARCHAR" | "CHAR" | "BPCHAR" | "NAME" | "CITEXT" | "UNKNOWN" | "XML" => Some(text().into_bytes()),
        "BOOL" => value.as_bool().map(|b| vec![u8::from(b)]),
        "INT2" => whole(value)
            .and_then(|n| i16::try_from(n).ok())
            .map(|n| n.to_be_bytes().to_vec()),
        "INT4" => whole(value)
            .and_then(|n| i32::try_from(n).ok())
            .map(|n| n.to_be_bytes().to_vec()),
        "OID" => whole(value)
            .and_then(|n| u32::try_from(n).ok())
            .map(|n| n.to_be_bytes().to_vec()),
        "INT8" => whole(value).map(|n| n.to_be_bytes().to_vec()),
        #[allow(clippy::cast_possible_truncation)] // That is what the column's type says.
        "FLOAT4" => value.as_f64().map(|n| (n as f32).to_be_bytes().to_vec()),
        "FLOAT8" => value.as_f64().map(|n| n.to_be_bytes().to_vec()),
        "NUMERIC" => match value {
            Value::String(s) => numeric(s),
            Value::Number(n) => numeric(&n.to_string()),
            _ => None,
        },
        "JSON" => Some(value.to_string().into_bytes()),
        "JSONB" => Some([&[1], value.to_string().as_bytes()].concat()),
        "UUID" => value.as_str().and_then(uuid),
        "BYTEA" => value.as_str().and_then(|s| STANDARD.decode(s).ok()),
        "TIMESTAMPTZ" => value.as_str().and_then(micros).map(|n| n.to_be_bytes().to_vec()),
        "TIMESTAMP" => value
            .as_str()
            .and_then(|s| micros(&format!("{}Z", s.trim_end_matches('Z').replacen(' ', "T", 1))))
            .map(|n| n.to_be_bytes().to_vec()),
        "DATE" => value
            .as_str()
            .filter(|s| s.len() == 10)
            .and_then(|s| micros(&format!("{s}T00:00:00Z")))
            .and_then(|n| i32::try_from(n.div_euclid(86_400_000_000)).ok())
            .map(|days| days.to_be_bytes().to_vec()),
        _ => {
            if matches!(kind.kind(), PgTypeKind::Enum(_)) {
                Some(text().into_bytes())
            } else {
                let message = format!("values of the type {name} cannot be given directly");
                let e = Error::invalid("sql.parameter_type", message);
                return Err(e.hint(format!(
                    "give it as a text and cast it in the statement: $1::text::{}",
                    name.to_lowercase()
                )));
            }
        }
    };
    match bytes {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(Error::invalid(
            "sql.parameter_invalid",
            format!("this value does not fit the type {name}"),
        )),
    }
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn array(inner: &PgTypeInfo, list: &[Value]) -> Result<Vec<u8>> {
    let Some(oid) = inner.oid() else {
        return Err(Error::invalid(
            "sql.parameter_type",
            "lists of this type cannot be given directly",
        ));
    };
    let mut out = Vec::new();
    let count = i32::try_from(list.len()).map_err(|_| Error::invalid("sql.parameter_invalid", "the list is too long"))?;
    let has_null = i32::from(list.iter().any(Value::is_null));
    for head in [i32::from(count > 0), has_null] {
        out.extend_from_slice(&head.to_be_bytes());
    }
    out.extend_from_slice(&oid.0.to_be_bytes());
    if count > 0 {
        for head in [count, 1] {
            out.extend_from_slice(&head.to_be_bytes());
        }
    }
    for value in list {
        match encode(inner, value)? {
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(bytes) => {
                let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&bytes);
            }
        }
    }
    Ok(out)
}

fn uuid(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let plain = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| plain)?;
    Some(number.to_be_bytes().to_vec())
}

/// Microseconds since 2000 of RFC 3339 text.
fn micros(text: &str) -> Option<i64> {
    let millis = Millis::parse_rfc3339(text)?.0;
    // What is finer than a millisecond.
    let fraction = text.split_once('.').map_or("", |(_, behind)| behind);
    let digits: String = fraction.chars().take_while(char::is_ascii_digit).collect();
    let finer: i64 = format!("{digits:0<6}").get(3..6)?.parse().ok()?;
    (millis - EPOCH * 1_000).checked_mul(1_000)?.checked_add(finer)
}

/// A decimal number as groups of four digits: their count, the first one's weight, sign, digits behind the point.
fn numeric(text: &str) -> Option<Vec<u8>> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0_i32),
        Some((digits, exponent)) => (digits, exponent.parse().ok()?),
    };
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let all: Vec<u8> = before.bytes().chain(behind.bytes()).collect();
    if all.is_empty() || all.len() > 1_000 || !all.iter().all(u8::is_ascii_digit) || exponent.abs() > 1_000 {
        return None;
    }
    // Where the point stands among all digits, and how many of them are behind it.
    let point = i32::try_from(before.len()).ok()? + exponent;
    let scale = (i32::try_from(all.len()).ok()? - point).max(0);
    // The point falls between two groups.
    let pad = point.rem_euclid(4);
    let lead = if pad == 0 { 0 } else { 4 - pad };
    let mut padded = vec![b'0'; usize::try_from(lead).ok()?];
    padded.extend_from_slice(&all);
    while padded.len() % 4 != 0 {
        padded.push(b'0');
    }
    let mut weight = (point + lead) / 4 - 1;
    let mut groups: Vec<i16> = padded
        .chunks(4)
        .map(|four| four.iter().fold(0, |n, d| n * 10 + i16::from(d - b'0')))
        .collect();
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let sign: i16 = if negative && !groups.is_empty() { 0x4000 } else { 0 };
    let mut out = Vec::new();
    let count = i16::try_from(groups.len()).ok()?;
    let weight = if groups.is_empty() { 0 } else { i16::try_from(weight).ok()? };
    for head in [count, weight, sign, i16::try_from(scale).ok()?] {
        out.extend_from_slice(&head.to_be_bytes());
    }
    groups.iter().for_each(|g| out.extend_from_slice(&g.to_be_bytes()));
    Some(out)
}
