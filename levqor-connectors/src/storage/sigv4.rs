//! AWS Signature Version 4: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use levqor_core::types::Millis;
use url::Url;

use crate::api::content::hex;
use crate::api::request::percent;

/// Who signs, and for where.
pub(super) struct Signer<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) session_token: Option<&'a str>,
    pub(super) region: &'a str,
    pub(super) now: Millis,
}

impl Signer<'_> {
    /// `20130524T000000Z`
    fn instant(&self) -> String {
        let text = self.now.rfc3339();
        let seconds = text.split('.').next().unwrap_or_default();
        format!("{}Z", seconds.replace(['-', ':'], ""))
    }

    fn scope(&self) -> String {
        let day: String = self.instant().chars().take(8).collect();
        format!("{day}/{}/s3/aws4_request", self.region)
    }

    /// Adds the headers that sign a request with all the headers that it has.
    pub(super) fn sign(&self, method: &str, url: &Url, headers: &mut Vec<(String, String)>, body: &[u8]) {
        let body = hex(digest(&SHA256, body).as_ref());
        headers.push(("x-amz-content-sha256".into(), body.clone()));
        headers.push(("x-amz-date".into(), self.instant()));
        if let Some(token) = self.session_token {
            headers.push(("x-amz-security-token".into(), token.into()));
        }
        let mut signed = headers.clone();
        signed.push(("host".into(), host(url)));
        let (names, signature) = self.signature(method, url, &signed, &body);
        let credential = format!("{}/{}", self.access_key, self.scope());
        let value = format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}");
        headers.push(("authorization".into(), value));
    }

    /// An address that is good for so many seconds without anything else.
    pub(super) fn presign(&self, method: &str, url: &Url, seconds: u32) -> Url {
        let mut url = url.clone();
        let credential = format!("{}/{}", self.access_key, self.scope());
        let mut pairs = vec![
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", credential),
            ("X-Amz-Date", self.instant()),
            ("X-Amz-Expires", seconds.to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ];
        if let Some(token) = self.session_token {
            pairs.push(("X-Amz-Security-Token", token.to_owned()));
        }
        let mut query: Vec<String> = url.query().map(str::to_owned).into_iter().collect();
        query.extend(pairs.iter().map(|(n, v)| format!("{n}={}", percent(v, b""))));
        url.set_query(Some(&query.join("&")));
        let (_, signature) = self.signature(method, &url, &[("host".into(), host(&url))], "UNSIGNED-PAYLOAD");
        query.push(format!("X-Amz-Signature={signature}"));
        url.set_query(Some(&query.join("&")));
        url
    }

    /// The names of the signed headers, and the signature.
    fn signature(&self, method: &str, url: &Url, headers: &[(String, String)], body: &str) -> (String, String) {
        let mut lines: Vec<(String, String)> = headers
            .iter()
            .map(|(n, v)| (n.to_ascii_lowercase(), v.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect();
        lines.sort();
        let names: Vec<&str> = lines.iter().map(|(n, _)| n.as_str()).collect();
        let names = names.join(";");
        let list: Vec<String> = lines.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let list = list.concat();
        let canonical = format!("{method}\n{}\n{}\n{list}\n{names}\n{body}", url.path(), query(url));
        let scope = self.scope();
        let request = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{request}", self.instant());
        let start = format!("AWS4{}", self.secret_key).into_bytes();
        let key = scope.split('/').fold(start, |key, part| mac(&key, part.as_bytes()));
        (names, hex(&mac(&key, text.as_bytes())))
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

/// As the transport writes it: without the scheme's usual port.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The query with its parameters in order, each with a value.
fn query(url: &Url) -> String {
    let mut pairs: Vec<(String, String)> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    pairs.sort();
    let each: Vec<String> = pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    each.join("&")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The signer of the examples in AWS's documentation.
    const EXAMPLE: Signer<'_> = Signer {
        access_key: "AKIAIOSFODNN7EXAMPLE",
        secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        session_token: None,
        region: "us-east-1",
        now: Millis::secs(1_369_353_600),
    };

    #[test]
    fn signs_as_the_documentation_does() {
        for (method, path, headers, body, names, signature) in [
            (
                "GET",
                "test.txt",
                &[("range", "bytes=0-9")][..],
                "",
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "PUT",
                "test%24file.text",
                &[
                    ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ],
                "Welcome to Amazon S3.",
                "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                "GET",
                "?lifecycle",
                &[],
                "",
                "host;x-amz-content-sha256;x-amz-date",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "GET",
                "?max-keys=2&prefix=J",
                &[],
                "",
                "host;x-amz-content-sha256;x-amz-date",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
            (
                "GET",
                "?prefix=J&max-keys=2",
                &[],
                "",
                "host;x-amz-content-sha256;x-amz-date",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let url = Url::parse(&format!("https://examplebucket.s3.amazonaws.com/{path}")).unwrap();
            let mut headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
            EXAMPLE.sign(method, &url, &mut headers, body.as_bytes());
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={names},\
                 Signature={signature}"
            );
            assert_eq!(
                headers.last().unwrap(),
                &("authorization".to_owned(), expected),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn presigns_as_the_documentation_does() {
        let url = Url::parse("https://examplebucket.s3.amazonaws.com/test.txt").unwrap();
        assert_eq!(
            EXAMPLE.presign("GET", &url, 86_400).as_str(),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=\
             AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&\
             X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
