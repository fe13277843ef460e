//! Microsoft 365, by Microsoft Graph.

mod onedrive;
mod outlook;
mod teams;

use std::sync::Arc;

use levqor_core::connector::Connector;
use levqor_core::error::Result;
use levqor_core::types::Millis;
use serde_json::json;

use crate::api::oauth::Grant;
use crate::api::request::percent;
use crate::api::{Ask, Auth, Class, Faults, Next, Object, Session, Style, Vendor};
use crate::kit::text;

/// The connectors of this family.
pub(crate) fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(onedrive::connector()),
        Arc::new(outlook::connector()),
        Arc::new(teams::connector()),
    ]
}

/// A service of Microsoft Graph.
const fn graph(name: &'static str, title: &'static str, description: &'static str, docs: &'static str) -> Vendor {
    Vendor {
        docs,
        base: "https://graph.microsoft.com",
        auth: &[Auth::Renewed(&Grant {
            token_url: "https://login.microsoftonline.com/{@tenant=common}/oauth2/v2.0/token",
            scopes: "https://graph.microsoft.com/.default",
            service_accounts: false,
            client_credentials: true,
        })],
        settings: &[
            ("tenant", "the organisation's id or domain; needed without a `refresh_token`"),
            (
                "user",
                "whose account it is, where an application acts in its own name; its id or mail address",
            ),
        ],
        budgets: BUDGETS,
        key_header: "",
        style: Style::PLAIN,
        faults: FAULTS,
        ..Vendor::new(name, title, description)
    }
}

/// Of a mailbox; the other services have more.
const BUDGETS: &[(u32, Millis)] = &[(10_000, Millis::mins(10))];

const FAULTS: Faults = Faults {
    codes: &["/error/code", "/error/innerError/code"],
    rules: &[
        ("InvalidAuthenticationToken", Class::Expired),
        ("AuthenticationError", Class::Unauthorized),
        ("ErrorAccessDenied", Class::Permission),
        ("Authorization_RequestDenied", Class::Permission),
        ("accessDenied", Class::Permission),
        ("ErrorItemNotFound", Class::NotFound),
        ("itemNotFound", Class::NotFound),
        ("ResourceNotFound", Class::NotFound),
        ("nameAlreadyExists", Class::Conflict),
        ("ErrorIrresolvableConflict", Class::Conflict),
        ("quotaLimitReached", Class::Quota),
        ("ErrorExceededMessageLimit", Class::Quota),
        ("activityLimitReached", Class::RateLimited),
        ("TooManyRequests", Class::RateLimited),
        ("ApplicationThrottled", Class::RateLimited),
        ("ErrorMailboxStoreUnavailable", Class::Unavailable),
        ("serviceNotAvailable", Class::Unavailable),
        ("generalException", Class::Unavailable),
    ],
    ..Faults::HTTP
};

/// Where the next page is asked for.
const NEXT: Next = Next::Uri("/@odata.nextLink");

/// Says whose account it is, and writes the query as OData does: `$top` for `top`.
fn odata(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    if let (Some(rest), Some(user)) = (ask.path.strip_prefix("v1.0/me/"), text(session.connection, "user")?) {
        ask.path = format!("v1.0/users/{}/{rest}", percent(user, b"@"));
    }
    if ask.method == "GET" {
        for name in ["top", "skip", "select", "filter", "orderby", "search", "expand"] {
            if let Some(value) = fields.remove(name) {
                Style::JSON.query(ask, &format!("${name}"), &value);
            }
        }
    }
    Ok(())
}

/// Mail addresses as Graph has them.
fn recipients(fields: &mut Object, name: &str) -> Option<serde_json::Value> {
    let list = fields.remove(name)?;
    let each = list.as_array()?.iter().map(|a| json!({"emailAddress": {"address": a}}));
    Some(each.collect())
}
