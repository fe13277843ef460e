//! Certificates as one wishes, and a listener that serves over them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate authority with an intermediate below it.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    middle: CertifiedIssuer<'static, KeyPair>,
}

/// What the server's certificate is to be like.
#[derive(Clone)]
pub struct Wish {
    pub names: Vec<String>,
    /// Valid from and to, in days from now.
    pub days: (i64, i64),
    pub send_middle: bool,
    pub self_signed: bool,
    pub client_only: bool,
    pub authority: bool,
    pub versions: &'static [&'static rustls::SupportedProtocolVersion],
}

impl Default for Wish {
    fn default() -> Self {
        Wish {
            names: vec!["localhost".into(), "127.0.0.1".into()],
            days: (-10, 80),
            send_middle: true,
            self_signed: false,
            client_only: false,
            authority: false,
            versions: rustls::ALL_VERSIONS,
        }
    }
}

fn set_days(params: &mut CertificateParams, from: i64, to: i64) {
    let now = levqor_core::clock::SystemClock::machine().0 / 1000;
    let at = |n: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(now + n * 86_400).unwrap());
    params.not_before = at(from);
    params.not_after = at(to);
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_days(&mut params, -100, 1000);
    params
}

impl Authority {
    pub fn new() -> Self {
        Authority::named(1000)
    }

    /// One whose intermediate is valid for so many days more.
    pub fn named(middle_days: i64) -> Self {
        let root = CertifiedIssuer::self_signed(ca("Levqor Test Root"), KeyPair::generate().unwrap()).unwrap();
        let mut params = ca("Levqor Test Intermediate");
        set_days(&mut params, -100, middle_days);
        let middle = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
        Authority { root, middle }
    }

    pub fn pem(&self) -> String {
        self.root.pem()
    }

    pub fn server(&self, wish: &Wish) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(wish.names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "server");
        set_days(&mut params, wish.days.0, wish.days.1);
        if wish.client_only {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        if wish.authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let leaf = if wish.self_signed {
            params.self_signed(&key).unwrap()
        } else {
            params.signed_by(&key, &self.middle).unwrap()
        };
        let mut chain = vec![leaf.der().clone()];
        if wish.send_middle && !wish.self_signed {
            chain.push(self.middle.der().clone());
        }
        config(chain, key.serialize_der(), wish.versions)
    }
}

pub fn config(
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(key).unwrap();
    let built = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(built.unwrap())
}

/// A listener whose connections have done their handshake.
pub struct Secure {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    at: SocketAddr,
}

pub async fn listen(config: Arc<ServerConfig>) -> (u16, Secure) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = tcp.local_addr().unwrap();
    let (to, ready) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, from)) = tcp.accept().await {
            let (acceptor, to) = (TlsAcceptor::from(config.clone()), to.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = to.send((stream, from)).await;
                }
            });
        }
    });
    (at.port(), Secure { ready, at })
}

impl axum::serve::Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(both) => both,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.at)
    }
}
