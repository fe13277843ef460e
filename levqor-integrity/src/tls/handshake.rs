//! A TLS handshake that takes every certificate, and keeps what the server showed.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, InvalidMessage, SignatureScheme, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a server showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// Its certificates, as sent, the server's own first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// Whether it proved that it holds the key of the first one; `None` if it did not come to that.
    pub(crate) proved: Option<bool>,
}

/// Why there was no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server speaks older versions only.
    Version,
    /// No cipher suite in common.
    NoCipher,
    /// It does not know the name that it was asked for.
    Name,
    /// It wants a certificate of the client.
    ClientCertificate,
    /// What answers does not speak TLS.
    NotTls,
    /// It closed the connection.
    Closed,
    /// Something else.
    Other,
}

/// Connects with any of these versions.
pub(crate) async fn handshake(
    to: SocketAddr,
    host: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<(Shown, Result<TlsStream<TcpStream>, Fault>)> {
    let stream = TcpStream::connect(to).await?;
    let provider = Arc::new(default_provider());
    let keep = Arc::new(Keep {
        shown: Mutex::default(),
        provider: provider.clone(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(keep.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let shown = keep.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((shown, connected.map_err(|e| fault(&e))))
}

fn fault(e: &io::Error) -> Fault {
    use AlertDescription as Alert;
    use rustls::{Error, PeerIncompatible as Peer};
    let Some(e) = e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        let closed = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
        ];
        return if closed.contains(&e.kind()) {
            Fault::Closed
        } else {
            Fault::Other
        };
    };
    match e {
        Error::AlertReceived(Alert::ProtocolVersion)
        | Error::PeerIncompatible(
            Peer::ServerTlsVersionIsDisabledByOurConfig | Peer::ServerDoesNotSupportTls12Or13 | Peer::Tls12NotOfferedOrEnabled,
        )
        | Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => Fault::Version,
        Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) => Fault::NoCipher,
        Error::AlertReceived(Alert::UnrecognisedName) => Fault::Name,
        Error::AlertReceived(Alert::CertificateRequired | Alert::BadCertificate) => Fault::ClientCertificate,
        Error::InvalidMessage(_) => Fault::NotTls,
        _ => Fault::Other,
    }
}

#[derive(Debug)]
struct Keep {
    shown: Mutex<Shown>,
    provider: Arc<CryptoProvider>,
}

impl Keep {
    fn proof(&self, proved: bool) -> HandshakeSignatureValid {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).proved = Some(proved);
        HandshakeSignatureValid::assertion()
    }
}

impl ServerCertVerifier for Keep {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).chain = chain.map(|c| c.as_ref().to_vec()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        Ok(self.proof(verify_tls12_signature(message, cert, dss, algorithms).is_ok()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        Ok(self.proof(verify_tls13_signature(message, cert, dss, algorithms).is_ok()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as S;
        vec![
            S::ECDSA_NISTP256_SHA256,
            S::ECDSA_NISTP384_SHA384,
            S::ECDSA_NISTP521_SHA512,
            S::ED25519,
            S::RSA_PSS_SHA256,
            S::RSA_PSS_SHA384,
            S::RSA_PSS_SHA512,
            S::RSA_PKCS1_SHA256,
            S::RSA_PKCS1_SHA384,
            S::RSA_PKCS1_SHA512,
            // Old ones too: a server that knows no other is to be seen, and then judged.
            S::RSA_PKCS1_SHA1,
            S::ECDSA_SHA1_Legacy,
        ]
    }
}
