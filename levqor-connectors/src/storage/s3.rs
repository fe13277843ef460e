//! S3 and what speaks like it at another `base_url`: MinIO, R2, B2, Ceph, Garage.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/>

use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};
use url::Url;

use super::sigv4::Signer;
use super::xml::to_json;
use crate::api::content::{shown_bytes, take_bytes, take_text};
use crate::api::request::percent;
use crate::api::{Api, Ask, Auth, Class, Done, Faults, Next, Object, Pages, Session, Vendor, call, input, output};
use crate::kit::{setting_error, text};

static VENDOR: Vendor = Vendor {
    docs: "https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html",
    base: "https://s3.amazonaws.com",
    auth: &[Auth::Sign(
        &[
            ("access_key_id", "the access key's id"),
            ("secret_access_key", "the access key's secret"),
            ("session_token", "the token of temporary credentials"),
        ],
        sign,
    )],
    settings: &[
        ("region", "the bucket's region; `us-east-1` if not given"),
        ("bucket", "the bucket of inputs that name none"),
    ],
    key_header: "",
    faults: Faults {
        codes: &["/Code"],
        read: |body| to_json(body).get_mut("Error").map_or(Value::Null, Value::take),
        rules: &[
            ("ExpiredToken", Class::Expired),
            ("InvalidAccessKeyId", Class::Unauthorized),
            ("SignatureDoesNotMatch", Class::Unauthorized),
            ("AccessDenied", Class::Permission),
            ("RequestTimeTooSkewed", Class::Unauthorized),
            ("NoSuchKey", Class::NotFound),
            ("NoSuchBucket", Class::NotFound),
            ("NoSuchVersion", Class::NotFound),
            ("PreconditionFailed", Class::Conflict),
            ("OperationAborted", Class::Conflict),
            ("SlowDown", Class::RateLimited),
            ("RequestTimeout", Class::Timeout),
            ("InternalError", Class::Unavailable),
            ("ServiceUnavailable", Class::Unavailable),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new("s3", "S3", "Objects in buckets of S3, or of anything that speaks like it.")
};

input! {
    /// An object: `text` or `base64`.
    PutObject {
        /// The bucket; the connection's if not given.
        bucket: Option<String>,
        /// Its name.
        #[schemars(length(min = 1, max = 1024))]
        key: String,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// Its media type.
        content_type: Option<String>,
        /// How long it may be kept by others.
        cache_control: Option<String>,
        /// Values of your own.
        metadata: Option<std::collections::BTreeMap<String, String>>,
        /// Fails with a conflict if there is one already.
        only_new: Option<bool>,
    }

    GetObject {
        /// The bucket; the connection's if not given.
        bucket: Option<String>,
        /// Its name.
        #[schemars(length(min = 1, max = 1024))]
        key: String,
        /// A part of it: `bytes=0-99`.
        range: Option<String>,
        /// One of its versions.
        version_id: Option<String>,
    }

    OneObject {
        /// The bucket; the connection's if not given.
        bucket: Option<String>,
        /// Its name.
        #[schemars(length(min = 1, max = 1024))]
        key: String,
        /// One of its versions.
        version_id: Option<String>,
    }

    ListObjects {
        /// The bucket; the connection's if not given.
        bucket: Option<String>,
        /// How names begin.
        prefix: Option<String>,
        /// Puts names together that are equal up to this: `/`.
        delimiter: Option<String>,
        /// Names come behind this one.
        start_after: Option<String>,
        /// Objects a page, at most 1000.
        #[schemars(range(min = 1, max = 1000))]
        max_keys: Option<u32>,
        /// The `next` of an earlier answer.
        continuation_token: Option<String>,
    }

    CopyObject {
        /// The bucket of the copy; the connection's if not given.
        bucket: Option<String>,
        /// The copy's name.
        #[schemars(length(min = 1, max = 1024))]
        key: String,
        /// The bucket of the original; the copy's if not given.
        source_bucket: Option<String>,
        /// The original's name.
        #[schemars(length(min = 1, max = 1024))]
        source_key: String,
    }

    Presign {
        /// The bucket; the connection's if not given.
        bucket: Option<String>,
        /// Its name.
        #[schemars(length(min = 1, max = 1024))]
        key: String,
        /// `GET` to read it (if not given), `PUT` to write it.
        #[schemars(regex(pattern = "^(GET|PUT)$"))]
        method: Option<String>,
        /// For how many seconds, at most a week; an hour if not given.
        #[schemars(range(min = 1, max = 604_800))]
        expires: Option<u32>,
    }
}

output! {
    Put {
        /// The status.
        status: u16,
        /// What identifies this content.
        etag: Option<String>,
        /// The version that it became.
        version_id: Option<String>,
    }

    Content {
        /// The content, if it is text.
        text: Option<String>,
        /// The content in Base64, if it is not.
        base64: Option<String>,
        /// Its size in bytes.
        size: u64,
        /// Its media type.
        content_type: Option<String>,
        /// What identifies this content.
        etag: Option<String>,
        /// When it was written.
        last_modified: Option<String>,
    }

    Head {
        /// The status.
        status: u16,
        /// Its size in bytes.
        size: Option<String>,
        /// Its media type.
        content_type: Option<String>,
        /// What identifies this content.
        etag: Option<String>,
        /// When it was written.
        last_modified: Option<String>,
        /// Its version.
        version_id: Option<String>,
    }

    Entry {
        /// Its name.
        key: String,
        /// Its size in bytes.
        size: u64,
        /// What identifies its content.
        etag: Option<String>,
        /// When it was written.
        last_modified: Option<String>,
    }

    Entries {
        /// The objects.
        objects: Vec<Entry>,
        /// Beginnings of names, with a delimiter.
        prefixes: Vec<String>,
        /// The token of the next page; null at the end.
        next: Option<String>,
    }

    Copied {
        /// What identifies the copy's content.
        etag: Option<String>,
        /// When it was written.
        last_modified: Option<String>,
    }

    Address {
        /// The address.
        url: String,
        /// `GET` or `PUT`.
        method: String,
        /// When it ends, in RFC 3339.
        expires_at: String,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<PutObject, Put>(
                "put_object",
                "Write an object",
                "Writes an object, in place of one of the same name.",
            )
            .put("")
            .shape(put)
            .status(&[("etag", "etag"), ("version_id", "x-amz-version-id")])
            .scopes(&["s3:PutObject"]),
            call::<GetObject, Content>(
                "get_object",
                "Read an object",
                "Reads an object of at most 16 MiB, or a part of it.",
            )
            .get("")
            .run(|session, fields| Box::pin(get(session, fields)))
            .shape(place)
            .scopes(&["s3:GetObject"]),
            call::<OneObject, Head>(
                "head_object",
                "Look at an object",
                "Says how large an object is and when it was written.",
            )
            .head("")
            .shape(place)
            .status(&[
                ("size", "content-length"),
                ("content_type", "content-type"),
                ("etag", "etag"),
                ("last_modified", "last-modified"),
                ("version_id", "x-amz-version-id"),
            ])
            .scopes(&["s3:GetObject"]),
            call::<ListObjects, Entries>("list_objects", "List objects", "Lists the objects of a bucket by name.")
                .get("")
                .shape(list)
                .decode(entries)
                .pages(Pages {
                    items: "/objects",
                    next: Next::Cursor("/next_token", "continuation_token"),
                })
                .scopes(&["s3:ListBucket"]),
            call::<CopyObject, Copied>("copy_object", "Copy an object", "Copies an object within S3.")
                .put("")
                .run(|session, fields| Box::pin(copy(session, fields)))
                .shape(place)
                .scopes(&["s3:GetObject", "s3:PutObject"]),
            call::<OneObject, Done>(
                "delete_object",
                "Delete an object",
                "Deletes an object, or hides it behind a marker.",
            )
            .delete("")
            .shape(place)
            .status(&[])
            .scopes(&["s3:DeleteObject"]),
            call::<Presign, Address>(
                "presign",
                "Make an address",
                "Makes an address by which anybody can read or write one object for a while. Nothing is sent.",
            )
            .get("")
            .run(|session, fields| Box::pin(std::future::ready(presign(session, fields))))
            .shape(place)
            .scopes(&["s3:GetObject", "s3:PutObject"]),
        ],
    )
}

fn signer<'a>(session: &'a Session<'_>) -> Result<Signer<'a>> {
    let setting = |name| text(session.connection, name);
    Ok(Signer {
        access_key: setting("access_key_id")?.unwrap_or_default(),
        secret_key: setting("secret_access_key")?.unwrap_or_default(),
        session_token: setting("session_token")?,
        region: setting("region")?.unwrap_or("us-east-1"),
        now: session.cx.clock.now(),
    })
}

fn sign(session: &Session<'_>, ask: &Ask, url: &str, headers: &mut Vec<(String, String)>) -> Result<()> {
    let url = Url::parse(url).map_err(|e| Error::internal(e.to_string()))?;
    let body = ask.body.as_deref().unwrap_or_default();
    signer(session)?.sign(ask.method, &url, headers, body);
    Ok(())
}

/// Says where the bucket is: in the host's name at AWS, in the path elsewhere.
fn bucket(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<String> {
    let connection = session.connection;
    let named = take_text(fields, "bucket");
    let Some(bucket) = named.or(text(connection, "bucket")?.map(str::to_owned)) else {
        let message = "neither the input nor the connection names a bucket";
        return Err(Error::invalid("s3.bucket_missing", message).at("/bucket"));
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) || bucket.contains("..") || bucket.starts_with('.') {
        return Err(Error::invalid("s3.bucket_invalid", "this cannot be the name of a bucket").at("/bucket"));
    }
    if text(connection, "base_url")?.is_some() {
        ask.path = format!("{bucket}/");
        return Ok(bucket);
    }
    let region = text(connection, "region")?.unwrap_or("us-east-1");
    if !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(setting_error(connection, "region", "this cannot be the name of a region"));
    }
    // A dot in a host's name would spoil its certificate.
    if bucket.contains('.') {
        ask.base = Some(format!("https://s3.{region}.amazonaws.com"));
        ask.path = format!("{bucket}/");
    } else {
        ask.base = Some(format!("https://{bucket}.s3.{region}.amazonaws.com"));
    }
    Ok(bucket)
}

/// Says where the object is.
fn place(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    bucket(ask, fields, session)?;
    let key = take_text(fields, "key").unwrap_or_default();
    ask.path.push_str(&encoded(&key, "/key")?);
    if let Some(version) = take_text(fields, "version_id") {
        ask.query.push(("versionId".into(), version));
    }
    if let Some(range) = take_text(fields, "range") {
        ask.header("range", &range);
    }
    Ok(())
}

/// A name as it stands in a path. Dot segments would lead to another object on the way.
fn encoded(key: &str, at: &str) -> Result<String> {
    if key.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(Error::invalid("s3.key_invalid", "a name cannot have `.` or `..` between slashes").at(at));
    }
    Ok(percent(key, b"/"))
}

fn put(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    place(ask, fields, session)?;
    let bytes = take_bytes(fields)?;
    let kind = take_text(fields, "content_type").unwrap_or_else(|| "application/octet-stream".into());
    ask.content(&kind, bytes);
    if let Some(cache) = take_text(fields, "cache_control") {
        ask.header("cache-control", &cache);
    }
    if fields.get("only_new") == Some(&Value::Bool(true)) {
        ask.header("if-none-match", "*");
    }
    if let Some(Value::Object(values)) = fields.get("metadata") {
        for (name, value) in values {
            let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let value = value.as_str().filter(|v| v.bytes().all(|b| (b' '..=b'~').contains(&b)));
            let (true, Some(value)) = (plain, value) else {
                let message = "names are made of letters, digits and `-`, values of ASCII";
                return Err(Error::invalid("s3.metadata_invalid", message).at(format!("/metadata/{name}")));
            };
            ask.header(&format!("x-amz-meta-{}", name.to_ascii_lowercase()), value);
        }
    }
    Ok(())
}

async fn get(session: &Session<'_>, fields: Object) -> Result<Value> {
    let mut ask = session.ask(fields)?;
    ask.max_response = 16 << 20;
    let reply = session.send(ask).await?;
    let mut out = Value::Object(shown_bytes(&reply.body));
    for (name, header) in [
        ("content_type", "content-type"),
        ("etag", "etag"),
        ("last_modified", "last-modified"),
    ] {
        out[name] = json!(reply.header(header));
    }
    Ok(out)
}

fn list(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    bucket(ask, fields, session)?;
    ask.query.push(("list-type".into(), "2".into()));
    for (name, parameter) in [
        ("prefix", "prefix"),
        ("delimiter", "delimiter"),
        ("start_after", "start-after"),
        ("max_keys", "max-keys"),
        ("continuation_token", "continuation-token"),
    ] {
        match fields.remove(name) {
            Some(Value::String(text)) => ask.query.push((parameter.into(), text)),
            Some(Value::Number(n)) => ask.query.push((parameter.into(), n.to_string())),
            _ => {}
        }
    }
    Ok(())
}

/// The objects of a `ListBucketResult`; null if it is none.
fn entries(body: &[u8]) -> Value {
    let document = to_json(body);
    let Some(found) = document.get("ListBucketResult") else {
        return Value::Null;
    };
    let list = |name: &str| match found.get(name) {
        None => vec![],
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
    };
    let object = |o: Value| {
        let size: Option<u64> = o.get("Size").and_then(Value::as_str).and_then(|s| s.parse().ok());
        json!({"key": o.get("Key"), "size": size, "etag": o.get("ETag"), "last_modified": o.get("LastModified")})
    };
    let objects: Vec<Value> = list("Contents").into_iter().map(object).collect();
    let prefixes: Vec<Value> = list("CommonPrefixes")
        .iter()
        .filter_map(|p| p.get("Prefix").cloned())
        .collect();
    json!({"objects": objects, "prefixes": prefixes, "next_token": found.get("NextContinuationToken")})
}

/// A copy can fail after its answer has begun with 200.
async fn copy(session: &Session<'_>, mut fields: Object) -> Result<Value> {
    let source = take_text(&mut fields, "source_key").unwrap_or_default();
    let source = encoded(&source, "/source_key")?;
    let from = take_text(&mut fields, "source_bucket");
    let mut ask = Ask::new("PUT", "");
    let target = bucket(&mut ask, &mut fields.clone(), session)?;
    let mut ask = session.ask(fields)?;
    ask.body = None;
    ask.headers.retain(|(n, _)| n != "content-type");
    ask.header(
        "x-amz-copy-source",
        &format!("/{}/{source}", percent(&from.unwrap_or(target), b"")),
    );
    let reply = session.send(ask).await?;
    let document = to_json(&reply.body);
    if let Some(result) = document.get("CopyObjectResult") {
        return Ok(json!({"etag": result.get("ETag"), "last_modified": result.get("LastModified")}));
    }
    let Some(said) = document.pointer("/Error/Message").and_then(Value::as_str) else {
        let message = format!("{} was answered with what is no result", session.what());
        let e = Error::new(ErrorKind::Corrupt, "connector.unexpected_answer", message);
        return Err(e.effect_is(Effect::Done));
    };
    let message = format!("{} failed while S3 copied: {}", session.what(), crate::kit::shown(said, 200));
    Err(Error::new(ErrorKind::Unavailable, "connector.unavailable", message))
}

fn presign(session: &Session<'_>, mut fields: Object) -> Result<Value> {
    let method = take_text(&mut fields, "method").unwrap_or_else(|| "GET".into());
    let seconds = fields.remove("expires").and_then(|v| v.as_u64()).unwrap_or(3_600);
    let seconds = u32::try_from(seconds).unwrap_or(3_600);
    let url = session.address(&session.ask(fields)?)?;
    let url = signer(session)?.presign(&method, &url, seconds);
    let end = session.cx.clock.now() + Millis::secs(seconds.into());
    Ok(json!({"url": url.as_str(), "method": method, "expires_at": end.rfc3339()}))
}
