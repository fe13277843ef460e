//! The `email` connector: mails over SMTP.
//!
//! | setting | meaning |
//! |---|---|
//! | `host` | the mail server |
//! | `tls` | `starttls` (the default), `tls` from the first byte, or `none` |
//! | `port` | 587, 465 or 25 by `tls`, if not given |
//! | `username`, `password` | for the login; without them there is none |
//! | `from` | the sender of mails that name none |
//! | `hello` | the name that this machine introduces itself by |
//! | `plaintext_login` | `true`: allows a login with `tls` = `none`, whose password everybody on the way can read |
//!
//! The server is the host's own configuration, so it may lie inside; nothing in a step's input can change it.

pub(crate) mod compose;
mod smtp;

use async_trait::async_trait;
use levqor_core::connector::{Action, AuthKind, Connector, Cx, Idempotency, Manifest, Output, SideEffect};
use levqor_core::error::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::kit::{read, schema, settings, timeout};
use compose::{Input, Sent, compose};
use smtp::Server;

/// The connector.
#[derive(Debug)]
pub struct Email {
    manifest: Manifest,
}

impl Default for Email {
    fn default() -> Self {
        Email::new()
    }
}

impl Email {
    /// The connector with its manifest.
    pub fn new() -> Self {
        let send = Action {
            name: "send".into(),
            title: "Send a mail".into(),
            description: "Hands a mail to the connection's mail server. Either every recipient is accepted or nothing is sent. \
                          The Message-ID is equal over all attempts."
                .into(),
            input: schema::<Input>(),
            output: schema::<Sent>(),
            side_effect: SideEffect::Write,
            // Mail servers deliver a repeated Message-ID twice.
            idempotency: Idempotency::None,
            scopes: vec![],
        };
        Email {
            manifest: Manifest {
                name: "email".into(),
                title: "Email".into(),
                description: "Mails over SMTP.".into(),
                docs: Some("https://www.rfc-editor.org/rfc/rfc5321".into()),
                auth: vec![AuthKind::Basic],
                settings: settings(&[
                    ("host", "the mail server"),
                    ("tls", "`starttls` (if not given), `tls` from the first byte, or `none`"),
                    ("port", "587, 465 or 25 by `tls`, if not given"),
                    ("username", "for the login; without it there is none"),
                    ("password", "for the login"),
                    ("from", "the sender of mails that name none"),
                    ("hello", "the name that this machine introduces itself by"),
                    (
                        "plaintext_login",
                        "`true`: allows a login with `tls` = `none`, whose password everybody on the way can read",
                    ),
                ]),
                budgets: vec![],
                triggers: vec![],
                actions: vec![send],
            },
        }
    }
}

#[async_trait]
impl Connector for Email {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        if action != "send" {
            return Err(Error::not_found(
                "connector.unknown_action",
                "`email` has only the action `send`",
            ));
        }
        let input: Input = read("email.send", input)?;
        let connection = cx.connection.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "email.connection_missing",
                "a mail needs a connection to a mail server",
            )
            .hint("give a connection with at least `host`")
        })?;
        let server = Server::of(connection)?;
        let longest = timeout(cx, input.timeout.as_deref())?;
        let mail = compose(&input, connection, cx)?;
        let response = smtp::deliver(&server, &mail, longest).await?;
        let sent = Sent {
            message_id: mail.id,
            response,
        };
        serde_json::to_value(sent)
            .map(Output::new)
            .map_err(|e| Error::internal(e.to_string()))
    }
}
