//! Asks a server for one old version of TLS, with a hand-made greeting (RFC 2246, RFC 4346): libraries that are safe to use
//! do not speak those any more.

use std::io;
use std::net::SocketAddr;

use levqor_core::types::random_bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A version before 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    Tls10,
    Tls11,
}

impl Old {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Old::Tls10 => "TLS 1.0",
            Old::Tls11 => "TLS 1.1",
        }
    }

    const fn code(self) -> [u8; 2] {
        match self {
            Old::Tls10 => [3, 1],
            Old::Tls11 => [3, 2],
        }
    }
}

/// What a server said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It goes on with this version.
    Accepted,
    /// It refused: an alert, another version, or a closed connection.
    Refused,
    /// Something that is no TLS.
    Nonsense,
}

/// Suites that servers of that time have: elliptic and plain RSA, AES and 3DES.
const SUITES: [u16; 12] = [
    0xc00a, 0xc014, 0x0039, 0x0035, 0xc009, 0xc013, 0x0033, 0x002f, 0xc012, 0xc008, 0x0016, 0x000a,
];

/// Greets a server with one old version as the newest that is spoken.
pub(crate) async fn greet(to: SocketAddr, host: &str, version: Old) -> io::Result<Said> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(&client_hello(host, version)).await?;
    let mut head = [0; 5];
    match stream.read_exact(&mut head).await {
        Ok(_) => {}
        Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => return Ok(Said::Refused),
        Err(e) => return Err(e),
    }
    if head[1] != 3 {
        return Ok(Said::Nonsense);
    }
    if head[0] != 22 {
        return Ok(if head[0] == 21 { Said::Refused } else { Said::Nonsense });
    }
    // A ServerHello: type, three bytes of length, the version.
    let mut body = [0; 6];
    if stream.read_exact(&mut body).await.is_err() {
        return Ok(Said::Refused);
    }
    let agreed = body[0] == 2 && body[4..6] == version.code();
    Ok(if agreed { Said::Accepted } else { Said::Refused })
}

fn client_hello(host: &str, version: Old) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    body.extend(version.code());
    body.extend(random_bytes::<32>());
    body.push(0);
    body.extend(sized(&SUITES.iter().flat_map(|s| s.to_be_bytes()).collect::<Vec<u8>>()));
    body.extend([1, 0]);
    let mut extensions = Vec::new();
    if host.parse::<std::net::IpAddr>().is_err() {
        let mut name = vec![0];
        name.extend(sized(host.as_bytes()));
        extension(&mut extensions, 0, &sized(&name));
    }
    // Groups: P-256, P-384, P-521, x25519; points: uncompressed.
    extension(&mut extensions, 10, &sized(&[0, 23, 0, 24, 0, 25, 0, 29]));
    extension(&mut extensions, 11, &[1, 0]);
    body.extend(sized(&extensions));

    let mut message = vec![1, 0];
    message.extend(sized(&body));
    let mut record = vec![22, 3, 1];
    record.extend(sized(&message));
    record
}

/// Bytes behind their length in two bytes. All that is sent here is far shorter than that allows, save a host name, which
/// is cut.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(4096)];
    let mut out = u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

fn extension(out: &mut Vec<u8>, kind: u16, body: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend(sized(body));
}
