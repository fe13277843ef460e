//! Google Workspace.

mod calendar;
mod drive;
mod gmail;
mod sheets;

use std::sync::Arc;

use levqor_core::connector::Connector;

use crate::api::oauth::Grant;
use crate::api::{Class, Faults};

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(calendar::connector()),
        Arc::new(drive::connector()),
        Arc::new(gmail::connector()),
        Arc::new(sheets::connector()),
    ]
}

/// How Google gives tokens; `scopes` is what a service account asks for.
const fn grant(scopes: &'static str) -> Grant {
    Grant {
        token_url: "https://oauth2.googleapis.com/token",
        scopes,
        service_accounts: true,
        client_credentials: false,
    }
}

/// How Google's services say that something went wrong. Limits are said with 403 too.
const FAULTS: Faults = Faults {
    codes: &["/error/errors/0/reason", "/error/details/0/reason", "/error/status"],
    rules: &[
        ("authError", Class::Expired),
        ("ACCESS_TOKEN_EXPIRED", Class::Expired),
        ("UNAUTHENTICATED", Class::Unauthorized),
        ("rateLimitExceeded", Class::RateLimited),
        ("userRateLimitExceeded", Class::RateLimited),
        ("sharingRateLimitExceeded", Class::RateLimited),
        ("RATE_LIMIT_EXCEEDED", Class::RateLimited),
        ("dailyLimitExceeded", Class::Quota),
        ("quotaExceeded", Class::Quota),
        ("storageQuotaExceeded", Class::Quota),
        ("insufficientPermissions", Class::Permission),
        ("backendError", Class::Unavailable),
        ("duplicate", Class::Conflict),
        ("FAILED_PRECONDITION", Class::Conflict),
        ("failedPrecondition", Class::Conflict),
    ],
    ..Faults::HTTP
};
