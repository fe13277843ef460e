//! What a driver's error means.

use levqor_core::error::{Error, ErrorKind};

/// A driver's error, by its cause. The address is never shown.
pub(crate) fn of_sqlx(e: &sqlx::Error) -> Error {
    let unavailable = |code: &str, message: String| Error::new(ErrorKind::Unavailable, code, message);
    let Some(db) = e.as_database_error() else {
        return match e {
            sqlx::Error::Io(io) => unavailable("db.unreachable", format!("the database cannot be reached: {}", io.kind())),
            sqlx::Error::Tls(_) => unavailable("db.tls", "no TLS connection to the database".into()),
            sqlx::Error::Configuration(_) => Error::new(ErrorKind::Config, "db.bad_url", "the database's address cannot be used"),
            _ => unavailable("db.query_failed", format!("the database answered something unexpected: {e}")),
        };
    };
    let code = db.code().unwrap_or_default();
    let name = match code.as_ref() {
        "28P01" | "28000" => "db.auth_failed",
        "3D000" => "db.no_database",
        "53300" => "db.too_many_connections",
        "25006" | "8" | "1032" | "776" => "db.read_only",
        "42501" => "db.permission_denied",
        "42P01" => "db.missing_table",
        "55P03" | "5" | "6" => "db.locked",
        "53100" | "13" => "db.disk_full",
        "57P03" | "57P01" | "57P02" => "db.starting",
        // SQLite's "cannot open".
        "14" => "db.unreachable",
        "11" | "26" => "db.corrupt",
        _ if db.message().starts_with("no such table") => "db.missing_table",
        _ => "db.query_failed",
    };
    unavailable(name, format!("the database says: {}", db.message()))
}
