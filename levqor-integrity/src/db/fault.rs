//! What a database's error means.

use levqor_core::error::Error;

use crate::outcome::Finding;

/// The finding for a database's error. Where it says that the check may not do what it has to, nothing can be told.
pub(crate) fn finding(e: &Error, place: &str) -> Finding {
    let code = e.code();
    let told = !matches!(code, "db.permission_denied" | "db.query_failed" | "db.bad_answer");
    let finding = if told {
        Finding::fail(code, e.message())
    } else {
        Finding::error(code, e.message())
    };
    let (expected, hint) = match code {
        "db.unreachable" => (
            "a connection",
            "is the database running, and does the firewall let this host through?",
        ),
        "db.auth_failed" => (
            "credentials that are accepted",
            "the user or the password in the address is wrong",
        ),
        "db.no_database" => ("an existing database", "make it, or mend the address"),
        "db.too_many_connections" => (
            "a free connection",
            "raise max_connections, or use a pool; look for leaking sessions",
        ),
        "db.read_only" => (
            "a database that takes writes",
            "is this a replica, or is default_transaction_read_only set?",
        ),
        "db.permission_denied" => (
            "a role that may write",
            "grant it, or name a table that it may write to with `table` and `values`",
        ),
        "db.missing_table" => ("the table", "run the migrations, or mend the name"),
        "db.locked" => (
            "a lock within 2 s",
            "look for a long transaction or a migration that holds the table",
        ),
        "db.disk_full" => ("space on the disk", "free some, at once"),
        "db.starting" => ("a database that takes connections", "it is starting, stopping or recovering"),
        "db.tls" => (
            "a TLS connection",
            "look at the server's certificate and at sslmode in the address",
        ),
        _ => ("an answer", "read what the database says"),
    };
    let harmless = matches!(
        code,
        "db.read_only" | "db.permission_denied" | "db.missing_table" | "db.locked" | "db.query_failed" | "db.disk_full"
    );
    let finding = finding
        .expected(expected)
        .actual(e.message())
        .at(place)
        .hint(e.help().unwrap_or(hint));
    if harmless { finding.harmless() } else { finding }
}
