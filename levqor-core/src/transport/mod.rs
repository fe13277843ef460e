//! The network port: every HTTP request of the engine goes through one [`Transport`].

pub mod guard;
#[cfg(feature = "http")]
mod http;
mod retry_after;

#[cfg(feature = "http")]
pub use http::{HttpOptions, HttpTransport, Resolver};
pub use retry_after::retry_after;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::types::Millis;

/// Sends HTTP requests. One attempt each: no retry, no redirect unless asked for.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and reads the whole answer, within the request's time-out and size cap.
    ///
    /// A status of 400 or more is an answer, not an error.
    async fn send(&self, request: Request) -> Result<Response>;
}

/// An HTTP request. `Debug` shows method, host and path, never headers, query or body.
#[derive(Clone)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Absolute, `http` or `https`.
    pub url: String,
    /// In this order; names are case-insensitive.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// The whole exchange must end within this.
    pub timeout: Millis,
    /// The largest answer body that is read, in bytes.
    pub max_response: usize,
    /// How many redirects are followed (each is guarded like the first address).
    pub redirects: u8,
    /// Whether addresses inside (loopback, private, link-local) may be reached.
    pub reach: Reach,
}

/// Which addresses a request may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses, and those that the host has allowed by name. For every URL that came from a user.
    #[default]
    Public,
    /// Any address: the URL is the host's own configuration.
    Any,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The address that answered in the end, after redirects.
    pub url: String,
}

impl Response {
    /// The first header of a name (given in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl Request {
    /// A request without headers and body: 30 s, 8 MiB, no redirects, public addresses only.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Request {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Millis::secs(30),
            max_response: 8 << 20,
            redirects: 0,
            reach: Reach::Public,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.url.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{} {bare} ({} bytes)", self.method, self.body.len())
    }
}
