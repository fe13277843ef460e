//! Handing a mail over (RFC 5321), so that it is always known whether the server may have taken it.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use levqor_core::connector::Connection;
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::compose::Mail;
use crate::kit::{flag, known_settings, setting_error, shown, text};

const SETTINGS: [&str; 8] = [
    "host",
    "port",
    "tls",
    "username",
    "password",
    "from",
    "hello",
    "plaintext_login",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tls {
    None,
    Upgraded,
    Direct,
}

/// A mail server, from a connection's settings.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<Credentials>,
    hello: ClientId,
}

impl Server {
    pub(super) fn of(connection: &Connection) -> Result<Self> {
        known_settings(connection, &SETTINGS)?;
        let bad = |field: &str, message: &str| Err(setting_error(connection, field, message));
        let Some(host) = text(connection, "host")? else {
            return bad("host", "there is no mail server");
        };
        let (tls, usual) = match text(connection, "tls")? {
            None | Some("starttls") => (Tls::Upgraded, 587),
            Some("tls") => (Tls::Direct, 465),
            Some("none") => (Tls::None, 25),
            Some(_) => return bad("tls", "it must be starttls, tls or none"),
        };
        let port = match connection.value("port") {
            None | Some(Value::Null) => usual,
            Some(port) => match port.as_u64().and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0) {
                Some(port) => port,
                None => return bad("port", "it must be a number from 1 to 65535"),
            },
        };
        let login = match (text(connection, "username")?, text(connection, "password")?) {
            (Some(user), Some(password)) => Some(Credentials::new(user.to_owned(), password.to_owned())),
            (None, None) => None,
            _ => return bad("password", "username and password go together"),
        };
        if login.is_some() && tls == Tls::None && !flag(connection, "plaintext_login")? {
            return bad(
                "tls",
                "the password would be sent in the clear; set plaintext_login if that is meant",
            );
        }
        let hello = match text(connection, "hello")? {
            None => ClientId::default(),
            Some(name) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.[]:".contains(&b)) => {
                ClientId::Domain(name.to_owned())
            }
            Some(_) => return bad("hello", "it must be a host's name"),
        };
        Ok(Server {
            host: host.to_owned(),
            port,
            tls,
            login,
            hello,
        })
    }
}

/// Hands a mail over and gives what the server said when it took it.
///
/// Until the server has asked for the message's text nothing has happened. After that an answer that is lost
/// leaves the effect unknown; an answer that refuses leaves none.
pub(super) async fn deliver(server: &Server, mail: &Mail, longest: Millis) -> Result<String> {
    let deadline = Instant::now() + longest.to_duration();
    let late = |effect| {
        let message = format!("the mail server `{}` did not answer within {longest}", server.host);
        Error::new(ErrorKind::Timeout, "email.timeout", message).effect_is(effect)
    };
    let mut connection = timeout_at(deadline, open(server, mail))
        .await
        .map_err(|_| late(Effect::None))??;
    let handed = timeout_at(deadline, connection.message(&mail.bytes)).await;
    let answer = handed.map_err(|_| late(Effect::Unknown))?;
    if answer.as_ref().is_err_and(|e| e.status().is_none()) {
        let message = format!(
            "the mail server `{}` was lost before it said whether it took the mail",
            server.host
        );
        return Err(Error::unavailable("email.connection_lost", message).effect_is(Effect::Unknown));
    }
    // A farewell is polite and changes nothing: the mail is taken or refused by now.
    let _ = timeout(Duration::from_secs(1), connection.quit()).await;
    let answer = answer.map_err(|e| server.fault(&e, Step::Text))?;
    let said: Vec<&str> = answer.message().collect();
    Ok(shown(&said.join(" "), 300))
}

/// Where a dialogue stood when it failed.
#[derive(Clone, Copy)]
enum Step<'a> {
    Connect,
    StartTls,
    Login,
    Sender,
    Recipient(&'a str),
    Text,
}

/// The dialogue up to the point where the server wants the text.
async fn open(server: &Server, mail: &Mail) -> Result<AsyncSmtpConnection> {
    let tls = || {
        TlsParameters::new(server.host.clone()).map_err(|_| {
            let message = format!("`{}` cannot be the name in a certificate", server.host);
            Error::new(ErrorKind::Config, "email.tls", message)
        })
    };
    let direct = if server.tls == Tls::Direct { Some(tls()?) } else { None };
    let address = (server.host.as_str(), server.port);
    let mut connection = AsyncSmtpConnection::connect_tokio1(address, None, &server.hello, direct, None)
        .await
        .map_err(|e| server.fault(&e, Step::Connect))?;
    let refused = dialogue(server, mail, &mut connection, tls).await.err();
    if let Some(e) = refused {
        let _ = timeout(Duration::from_secs(1), connection.abort()).await;
        return Err(e);
    }
    Ok(connection)
}

async fn dialogue(
    server: &Server,
    mail: &Mail,
    connection: &mut AsyncSmtpConnection,
    tls: impl Fn() -> Result<TlsParameters>,
) -> Result<()> {
    let fault = |e: SmtpError, step| server.fault(&e, step);
    if server.tls == Tls::Upgraded {
        if !connection.can_starttls() {
            let message = format!("the mail server `{}` offers no STARTTLS", server.host);
            let e = Error::new(ErrorKind::Config, "email.tls", message);
            return Err(e.hint("nothing was sent in the clear; set tls to `tls` or, knowingly, to `none`"));
        }
        connection
            .starttls(tls()?, &server.hello)
            .await
            .map_err(|e| fault(e, Step::StartTls))?;
    }
    if let Some(login) = &server.login {
        let known = [Mechanism::Plain, Mechanism::Login];
        if connection.server_info().get_auth_mechanism(&known).is_none() {
            let message = format!("the mail server `{}` offers no login by password", server.host);
            return Err(Error::new(ErrorKind::Config, "email.login_unsupported", message));
        }
        connection.auth(&known, login).await.map_err(|e| fault(e, Step::Login))?;
    }
    let mut options = Vec::new();
    let mut addresses = mail.envelope.to().iter().chain(mail.envelope.from());
    if addresses.any(|a| !a.to_string().is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            let message = "the mail server takes no addresses outside ASCII";
            return Err(Error::new(ErrorKind::Unsupported, "email.smtputf8", message));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !mail.bytes.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let from = MailFrom::new(mail.envelope.from().cloned(), options);
    connection.command(from).await.map_err(|e| fault(e, Step::Sender))?;
    for (to, place) in mail.envelope.to().iter().zip(&mail.places) {
        let rcpt = Rcpt::new(to.clone(), vec![]);
        connection.command(rcpt).await.map_err(|e| fault(e, Step::Recipient(place)))?;
    }
    connection.command(Data).await.map_err(|e| fault(e, Step::Text))?;
    Ok(())
}

/// Whether it is what a TLS handshake fails with; lettre calls it a fault of the connection.
fn invalid_data(e: &SmtpError) -> bool {
    let mut cause = e.source();
    while let Some(this) = cause {
        if this
            .downcast_ref::<io::Error>()
            .is_some_and(|c| c.kind() == io::ErrorKind::InvalidData)
        {
            return true;
        }
        cause = this.source();
    }
    false
}

impl Server {
    /// An error of the dialogue, none of which has sent the mail. Replies: 4yz may pass later, 5yz will not
    /// (RFC 5321, 4.2.1).
    fn fault(&self, e: &SmtpError, step: Step<'_>) -> Error {
        let host = &self.host;
        let Some(status) = e.status() else {
            return match step {
                _ if e.is_tls() || invalid_data(e) => {
                    let cause = e.source().map(|c| shown(&c.to_string(), 200)).unwrap_or_default();
                    let message = format!("no trustworthy TLS connection to the mail server `{host}`: {cause}");
                    Error::unavailable("email.tls", message).retry(false)
                }
                Step::Connect => Error::unavailable("email.connect", format!("the mail server `{host}` cannot be reached")),
                _ => Error::unavailable("email.connection_lost", format!("the mail server `{host}` broke off")),
            };
        };
        let status = u16::from(status);
        let said = e.source().map(|c| shown(&c.to_string(), 300)).unwrap_or_default();
        let message = format!("the mail server `{host}` answered {status} {said}");
        let passing = status < 500;
        let (kind, code) = match step {
            _ if passing => (ErrorKind::Unavailable, "email.try_later"),
            Step::Login => (ErrorKind::Denied, "email.login_refused"),
            Step::Recipient(_) => (ErrorKind::Invalid, "email.recipient_refused"),
            Step::Sender => (ErrorKind::Invalid, "email.sender_refused"),
            Step::Connect | Step::StartTls => (ErrorKind::Denied, "email.refused"),
            // 530 and 535 say that a login is needed, at whichever step.
            Step::Text if matches!(status, 530 | 535) => (ErrorKind::Denied, "email.login_refused"),
            Step::Text => (ErrorKind::Invalid, "email.refused"),
        };
        let e = Error::new(kind, code, message.trim_end().to_owned()).with("smtp_status", status);
        match step {
            Step::Recipient(place) => e.at(place),
            Step::Login if !passing => e.hint("the user or password is wrong or expired; renew the connection"),
            _ => e,
        }
    }
}
