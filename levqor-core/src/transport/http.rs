//! The HTTP transport: reqwest with rustls, guarded.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::BytesMut;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Method, redirect};
use url::Url;

use super::guard::{Guard, refused};
use super::{Reach, Request, Response, Transport};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::types::Millis;

/// Looks names up. The guard judges what comes back, and exactly that is connected to.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a name.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// How an [`HttpTransport`] behaves.
#[derive(Clone)]
pub struct HttpOptions {
    /// What may be reached besides public addresses; see [`Guard::new`].
    pub allow: Vec<String>,
    /// The longest that connecting may take, TLS included.
    pub connect_timeout: Millis,
    /// How long an unused connection is kept.
    pub idle_timeout: Millis,
    /// The `User-Agent` of requests that bring none.
    pub user_agent: String,
    /// Looks names up; `None` for the operating system's way.
    pub resolver: Option<Arc<dyn Resolver>>,
    /// Certificate authorities that are trusted besides the system's, each as DER.
    pub authorities: Vec<Vec<u8>>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            allow: Vec::new(),
            connect_timeout: Millis::secs(10),
            idle_timeout: Millis::secs(60),
            user_agent: concat!("levqor/", env!("CARGO_PKG_VERSION")).to_owned(),
            resolver: None,
            authorities: Vec::new(),
        }
    }
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

/// The network over reqwest. Opens nothing until the first request; never uses a proxy, since a proxy
/// would resolve names behind the guard's back.
///
/// Connections are pooled apart for [`Reach::Public`] and [`Reach::Any`], so that a request from a user
/// cannot ride on a connection that the host's configuration opened to the inside.
///
/// Errors: `http.url_invalid`, `http.method_invalid`, `http.header_invalid`, `http.address_refused`,
/// `http.dns`, `http.connect`, `http.tls`, `http.timeout`, `http.connection_lost`, `http.body_cut`,
/// `http.body_encoding`, `http.response_too_large`, `http.too_many_redirects`. Their
/// [`effect`](Error::effect) is none where the request cannot have been carried out, and unknown where the
/// answer was lost on the way; a lost answer to `GET`, `HEAD` or `OPTIONS` leaves no effect.
pub struct HttpTransport {
    options: HttpOptions,
    guard: Arc<Guard>,
    public: OnceLock<Client>,
    any: OnceLock<Client>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Headers that go along when a redirect leads to another origin; anything else may be a credential.
const FOLLOW: [&str; 6] = [
    "accept",
    "accept-language",
    "content-language",
    "content-type",
    "range",
    "user-agent",
];

impl HttpTransport {
    /// A transport. Fails if an exception of `allow` cannot be read (`http.allow_invalid`).
    pub fn new(options: HttpOptions) -> Result<Self> {
        Ok(HttpTransport {
            guard: Arc::new(Guard::new(&options.allow)?),
            options,
            public: OnceLock::new(),
            any: OnceLock::new(),
        })
    }

    fn client(&self, reach: Reach) -> Result<&Client> {
        let slot = match reach {
            Reach::Public => &self.public,
            Reach::Any => &self.any,
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let resolver = Guarded {
            guard: (reach == Reach::Public).then(|| Arc::clone(&self.guard)),
            resolver: self.options.resolver.clone(),
        };
        let not_built = |cause: &reqwest::Error| {
            let cause = cause.source().map(ToString::to_string).unwrap_or_default();
            let message = format!("the HTTP client cannot be built: {cause}");
            Error::new(ErrorKind::Config, "http.client", message)
        };
        let authorities: Vec<Certificate> = self
            .options
            .authorities
            .iter()
            .map(|der| Certificate::from_der(der).map_err(|e| not_built(&e)))
            .collect::<Result<_>>()?;
        let client = Client::builder()
            .tls_certs_merge(authorities)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .gzip(true)
            .user_agent(&self.options.user_agent)
            .connect_timeout(self.options.connect_timeout.to_duration())
            .pool_idle_timeout(self.options.idle_timeout.to_duration())
            .dns_resolver(resolver)
            .build()
            .map_err(|e| not_built(&e))?;
        Ok(slot.get_or_init(|| client))
    }

    /// Sends and follows redirects.
    async fn exchange(&self, request: &Request, mut hop: Hop) -> Result<Response> {
        let mut left = request.redirects;
        loop {
            self.guard.url(&hop.url, hop.reach)?;
            let answer = self
                .client(hop.reach)?
                .request(hop.method.clone(), hop.url.clone())
                .headers(hop.headers.clone())
                .body(request.body.clone())
                .send()
                .await
                .map_err(|e| hop.sending(&e))?;
            match hop.target(&answer) {
                Some(target) if request.redirects > 0 => {
                    if left == 0 {
                        let message = format!("`{}` redirects more than {} times", hop.host(), request.redirects);
                        return Err(Error::unavailable("http.too_many_redirects", message).retry(false));
                    }
                    left -= 1;
                    hop.follow(target);
                }
                _ => return hop.read(answer, request.max_response).await,
            }
        }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: Request) -> Result<Response> {
        let hop = Hop::first(&request)?;
        let timed_out = |effect| {
            let message = format!("`{}` did not answer within {}", hop.host(), request.timeout);
            Error::new(ErrorKind::Timeout, "http.timeout", message).effect_is(effect)
        };
        if request.timeout <= Millis::ZERO {
            return Err(timed_out(Effect::None));
        }
        match tokio::time::timeout(request.timeout.to_duration(), self.exchange(&request, hop.clone())).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(hop.lost())),
        }
    }
}

/// One of the requests that an exchange is made of: the first, or one after a redirect.
#[derive(Clone)]
struct Hop {
    method: Method,
    url: Url,
    headers: HeaderMap,
    reach: Reach,
}

impl Hop {
    fn first(request: &Request) -> Result<Self> {
        let url =
            Url::parse(&request.url).map_err(|e| Error::invalid("http.url_invalid", format!("the URL cannot be read: {e}")))?;
        let method = Method::from_bytes(request.method.as_bytes())
            .ok()
            .filter(|m| *m != Method::CONNECT)
            .ok_or_else(|| Error::invalid("http.method_invalid", "the method is not one of HTTP"))?;
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        for (name, value) in &request.headers {
            let bad = |what: &str| {
                let shown: String = name.chars().filter(char::is_ascii_graphic).take(40).collect();
                Error::invalid(
                    "http.header_invalid",
                    format!("{what} of the header `{shown}` is not allowed"),
                )
            };
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("the name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| bad("the value"))?;
            value.set_sensitive(true);
            headers.append(key, value);
        }
        Ok(Hop {
            method,
            url,
            headers,
            reach: request.reach,
        })
    }

    fn safe(&self) -> bool {
        [Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.method)
    }

    /// The effect of a request whose answer was lost.
    fn lost(&self) -> Effect {
        if self.safe() { Effect::None } else { Effect::Unknown }
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Where an answer sends us, if we follow it there: `GET` and `HEAD` always, other methods only where the
    /// answer says to keep method and body, and never from https to plain http with them.
    fn target(&self, answer: &reqwest::Response) -> Option<Url> {
        let reading = matches!(self.method, Method::GET | Method::HEAD);
        let follows = match answer.status().as_u16() {
            301..=303 => reading,
            307 | 308 => true,
            _ => false,
        };
        let location = answer.headers().get(LOCATION).filter(|_| follows)?;
        let mut target = self.url.join(location.to_str().ok()?).ok()?;
        let downgrade = self.url.scheme() == "https" && target.scheme() != "https";
        target.set_fragment(None);
        (reading || !downgrade).then_some(target)
    }

    fn follow(&mut self, target: Url) {
        if target.origin() != self.url.origin() {
            // Credentials belong to the origin they were meant for, and so does the host's leave to reach inside.
            let keep = |name: &HeaderName| FOLLOW.contains(&name.as_str());
            self.headers = self
                .headers
                .iter()
                .filter(|(n, _)| keep(n))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect();
            self.reach = Reach::Public;
        }
        self.url = target;
    }

    /// Reads an answer's body up to the cap.
    async fn read(&self, mut answer: reqwest::Response, cap: usize) -> Result<Response> {
        let status = answer.status().as_u16();
        let effect = if status < 400 { self.lost() } else { Effect::None };
        let too_large = || {
            let message = format!("the answer of `{}` is larger than {cap} bytes", self.host());
            Err(Error::invalid("http.response_too_large", message).effect_is(effect))
        };
        let announced = answer
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if self.method != Method::HEAD && announced.is_some_and(|n| n > cap as u64) {
            return too_large();
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.reading(&e, effect))? {
            if body.len() + chunk.len() > cap {
                return too_large();
            }
            body.extend_from_slice(&chunk);
        }
        let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        Ok(Response {
            status,
            headers: answer
                .headers()
                .iter()
                .map(|(n, v)| (n.as_str().to_owned(), text(v)))
                .collect(),
            body: body.freeze(),
            url: answer.url().to_string(),
        })
    }

    /// What went wrong before there was an answer. Never shows reqwest's own text: it holds the whole URL.
    fn sending(&self, e: &reqwest::Error) -> Error {
        let host = self.host();
        if causes(e).any(<dyn StdError>::is::<Refusal>) {
            return refused(host);
        }
        if e.is_dns() {
            return Error::unavailable("http.dns", format!("`{host}` cannot be resolved"));
        }
        let kind = io_kind(e);
        if e.is_connect() {
            return match kind {
                _ if e.is_timeout() => {
                    let message = format!("connecting to `{host}` took too long");
                    Error::new(ErrorKind::Timeout, "http.connect", message)
                }
                Some(io::ErrorKind::InvalidData) => {
                    let cause = causes(e).last().map(ToString::to_string).unwrap_or_default();
                    Error::unavailable("http.tls", format!("no trustworthy TLS connection to `{host}`: {cause}")).retry(false)
                }
                Some(io::ErrorKind::UnexpectedEof) => {
                    Error::unavailable("http.tls", format!("`{host}` broke off the TLS handshake"))
                }
                Some(kind) => Error::unavailable("http.connect", format!("cannot connect to `{host}`: {kind}")),
                None => Error::unavailable("http.connect", format!("cannot connect to `{host}`")),
            };
        }
        if e.is_builder() {
            return Error::invalid("http.url_invalid", "the request cannot be built from this URL");
        }
        Error::unavailable(
            "http.connection_lost",
            format!("the connection to `{host}` was lost before the answer"),
        )
        .effect_is(self.lost())
    }

    fn reading(&self, e: &reqwest::Error, effect: Effect) -> Error {
        let host = self.host();
        let undecodable = matches!(io_kind(e), Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
        if undecodable {
            let message = format!("the compressed answer of `{host}` cannot be unpacked");
            return Error::new(ErrorKind::Corrupt, "http.body_encoding", message).effect_is(effect);
        }
        Error::unavailable("http.body_cut", format!("the answer of `{host}` broke off")).effect_is(effect)
    }
}

fn causes(e: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next = e.source();
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// The kind of the innermost input/output error. One that wraps another does not name it as its source, so it
/// has to be unwrapped.
fn io_kind(e: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut error = causes(e).filter_map(|c| c.downcast_ref::<io::Error>()).last()?;
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        error = inner;
    }
    Some(error.kind())
}

/// The resolver that reqwest is given: what it hands out has been judged.
struct Guarded {
    /// `None` where everything may be reached.
    guard: Option<Arc<Guard>>,
    resolver: Option<Arc<dyn Resolver>>,
}

/// A name resolved to an address that may not be reached.
#[derive(Debug)]
struct Refusal;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name resolves to an address that is not public")
    }
}

impl StdError for Refusal {}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, resolver) = (self.guard.clone(), self.resolver.clone());
        Box::pin(async move {
            let found = match resolver {
                Some(resolver) => resolver.resolve(name.as_str()).await?,
                None => by_system(name.as_str().to_owned()).await?,
            };
            if found.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            // One address inside spoils the name: an honest one does not point to both sides.
            if guard.is_some_and(|g| found.iter().any(|ip| !g.address(name.as_str(), *ip))) {
                return Err(Refusal.into());
            }
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

async fn by_system(name: String) -> io::Result<Vec<IpAddr>> {
    let lookup = move || {
        (name.as_str(), 0)
            .to_socket_addrs()
            .map(|found| found.map(|a| a.ip()).collect())
    };
    tokio::task::spawn_blocking(lookup).await.map_err(io::Error::other)?
}
