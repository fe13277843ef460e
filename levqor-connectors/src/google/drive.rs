//! Google Drive. <https://developers.google.com/workspace/drive/api/reference/rest/v3>

use std::fmt::Write as _;

use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};

use super::{FAULTS, grant};
use crate::api::content::{shown_bytes, take_bytes, take_text};
use crate::api::hook::{Poll, newer, poll, since};
use crate::api::{Api, Ask, Auth, Next, Object, Pages, Part, Session, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developers.google.com/workspace/drive/api/reference/rest/v3",
    base: "https://www.googleapis.com",
    auth: &[Auth::Renewed(&grant("https://www.googleapis.com/auth/drive"))],
    budgets: &[(200, Millis::secs(1))],
    key_header: "",
    faults: FAULTS,
    ..Vendor::new("google_drive", "Google Drive", "Files and folders at Google.")
};

input! {
    /// A file: `text` or `base64`.
    #[serde(rename_all = "camelCase")]
    Upload {
        /// Its name.
        name: String,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// Its media type; `text/plain` or `application/octet-stream` if not given.
        mime_type: Option<String>,
        /// The folder's id, as a list of one; the root if not given.
        parents: Option<Vec<String>>,
        /// A description.
        description: Option<String>,
        /// Properties of your own.
        app_properties: Option<Object>,
    }

    CreateFolder {
        /// Its name.
        name: String,
        /// The id of the folder around it, as a list of one.
        parents: Option<Vec<String>>,
        /// A description.
        description: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    ListFiles {
        /// A condition: `name contains 'plan' and trashed = false`.
        q: Option<String>,
        /// How they are sorted: `modifiedTime desc`.
        order_by: Option<String>,
        /// Files a page, at most 1000.
        #[schemars(range(min = 1, max = 1000))]
        page_size: Option<u32>,
        /// The `next` of an earlier answer.
        page_token: Option<String>,
        /// A shared drive's id.
        drive_id: Option<String>,
        /// `user`, `domain`, `drive` or `allDrives`.
        corpora: Option<String>,
        /// Takes shared drives' files too.
        include_items_from_all_drives: Option<bool>,
    }

    #[serde(rename_all = "camelCase")]
    Download {
        /// The file's id.
        file_id: String,
        /// For a document of Google's own: what it is turned into, `text/csv` or `application/pdf`.
        mime_type: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Share {
        /// The file's or folder's id.
        file_id: String,
        /// `reader`, `commenter`, `writer`, `fileOrganizer`, `organizer` or `owner`.
        role: String,
        /// `user`, `group`, `domain` or `anyone`.
        #[serde(rename = "type")]
        kind: String,
        /// The user's or group's address.
        email_address: Option<String>,
        /// The domain.
        domain: Option<String>,
        /// Whether Google writes to them.
        send_notification_email: Option<bool>,
        /// What it writes.
        email_message: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Delete {
        /// The file's or folder's id.
        file_id: String,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    File {
        /// Its id.
        id: String,
        /// Its name.
        name: Option<String>,
        /// Its media type.
        mime_type: Option<String>,
        /// Its size in bytes; documents of Google's own have none.
        size: Option<String>,
        /// The folder.
        #[serde(default)]
        parents: Vec<String>,
        /// Where people see it.
        web_view_link: Option<String>,
        /// When it was made.
        created_time: Option<String>,
        /// When it was changed.
        modified_time: Option<String>,
        /// MD5 of its content.
        md5_checksum: Option<String>,
        /// It lies in the trash.
        trashed: Option<bool>,
    }

    Files {
        /// The files and folders.
        #[serde(default)]
        files: Vec<File>,
        /// The token of the next page; null at the end.
        next: Option<String>,
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
    }

    #[serde(rename_all = "camelCase")]
    Permission {
        /// The permission's id.
        id: String,
        /// What it allows.
        role: Option<String>,
        /// To whom.
        #[serde(rename = "type")]
        kind: Option<String>,
    }
}

const FIELDS: &str = "id,name,mimeType,size,parents,webViewLink,createdTime,modifiedTime,md5Checksum,trashed";
const SCOPE: &[&str] = &["https://www.googleapis.com/auth/drive"];
/// Larger files are not sent together with what they are called.
const MOST_AT_ONCE: usize = 5 << 20;

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<Upload, File>("upload_file", "Upload a file", "Makes a file with this content.")
                .post("upload/drive/v3/files")
                .run(|session, fields| Box::pin(upload(session, fields)))
                .scopes(SCOPE),
            call::<CreateFolder, File>("create_folder", "Make a folder", "Makes a folder.")
                .post("drive/v3/files")
                .shape(|ask, fields, _| {
                    fields.insert("mimeType".into(), "application/vnd.google-apps.folder".into());
                    everywhere(ask, FIELDS);
                    Ok(())
                })
                .scopes(SCOPE),
            call::<ListFiles, Files>("list_files", "Find files", "Finds files and folders.")
                .get("drive/v3/files")
                .shape(|ask, _, _| {
                    everywhere(ask, &format!("nextPageToken,files({FIELDS})"));
                    Ok(())
                })
                .pages(Pages {
                    items: "/files",
                    next: Next::Cursor("/nextPageToken", "pageToken"),
                })
                .scopes(&["https://www.googleapis.com/auth/drive.readonly"]),
            call::<Download, Content>("download_file", "Read a file", "Reads a file of at most 16 MiB.")
                .get("drive/v3/files/{fileId}")
                .run(|session, fields| Box::pin(download(session, fields)))
                .scopes(&["https://www.googleapis.com/auth/drive.readonly"]),
            call::<Share, Permission>(
                "share_file",
                "Share a file",
                "Lets a person, a group or everybody at a file or folder.",
            )
            .post("drive/v3/files/{fileId}/permissions")
            .query(&["sendNotificationEmail", "emailMessage"])
            .shape(|ask, _, _| {
                everywhere(ask, "id,role,type");
                Ok(())
            })
            .scopes(SCOPE),
            call::<Delete, crate::api::Done>(
                "delete_file",
                "Delete a file",
                "Deletes a file or folder for good, not into the trash.",
            )
            .delete("drive/v3/files/{fileId}")
            .shape(|ask, _, _| {
                ask.query.push(("supportsAllDrives".into(), "true".into()));
                Ok(())
            })
            .status(&[])
            .scopes(SCOPE),
        ],
    )
    .polls(polls())
}

input! {
    WatchFiles {
        /// Only in this folder; everywhere if not given.
        folder: Option<String>,
    }
}

fn polls() -> Vec<Poll> {
    vec![poll::<WatchFiles, File>(
        "changed_files",
        "A file changed",
        "Files that were made or changed.",
        "list_files",
        |input, cursor| {
            let mut q = "trashed = false".to_owned();
            if let Some(folder) = input.get("folder").and_then(Value::as_str) {
                let folder = folder.replace('\\', "\\\\").replace('\'', "\\'");
                let _ = write!(q, " and '{folder}' in parents");
            }
            if let Some(at) = since(cursor) {
                let _ = write!(q, " and modifiedTime >= '{at}'");
            }
            let known = since(cursor).is_some();
            json!({
                "q": q, "orderBy": if known { "modifiedTime" } else { "modifiedTime desc" }, "pageSize": 100,
                "max_pages": if known { 10 } else { 1 },
            })
        },
        |cursor, output| newer(cursor, output, "/files", "/id", "/modifiedTime"),
    )]
}

/// Asks for these fields, and lets shared drives count.
fn everywhere(ask: &mut Ask, fields: &str) {
    ask.query.push(("supportsAllDrives".into(), "true".into()));
    ask.query.push(("fields".into(), fields.into()));
}

async fn upload(session: &Session<'_>, mut fields: Object) -> Result<Value> {
    let is_text = fields.contains_key("text");
    let bytes = take_bytes(&mut fields)?;
    let usual = if is_text {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    };
    let kind = take_text(&mut fields, "mimeType").unwrap_or_else(|| usual.to_owned());
    if kind.chars().any(char::is_control) {
        return Err(Error::invalid("connector.input_invalid", "a media type is one line").at("/mimeType"));
    }
    let about = Value::Object(fields);
    let mut ask = Ask::new("POST", "upload/drive/v3/files");
    let large = bytes.len() > MOST_AT_ONCE;
    ask.query
        .push(("uploadType".into(), if large { "resumable" } else { "multipart" }.into()));
    everywhere(&mut ask, FIELDS);
    if !large {
        let about = about.to_string();
        let part = |kind, body| Part {
            name: None,
            file: None,
            kind: Some(kind),
            body,
        };
        let parts = [part("application/json; charset=UTF-8", about.as_bytes()), part(&kind, &bytes)];
        ask.multipart("related", &parts);
        return session.send(ask).await?.json();
    }
    ask.header("x-upload-content-type", &kind);
    ask.header("x-upload-content-length", &bytes.len().to_string());
    ask.json(&about)?;
    // A place to upload to that nothing is uploaded to is nothing.
    let begun = session.send(ask).await.map_err(|e| e.effect_is(Effect::None))?;
    let Some(place) = begun.header("location") else {
        let message = format!("{} was given no place to upload to", session.what());
        return Err(Error::new(ErrorKind::Corrupt, "connector.unexpected_answer", message));
    };
    let mut ask = Ask::new("PUT", "");
    ask.content(&kind, bytes);
    session.send_to(place, false, ask).await?.json()
}

async fn download(session: &Session<'_>, mut fields: Object) -> Result<Value> {
    let export = take_text(&mut fields, "mimeType");
    let mut ask = session.ask(fields)?;
    if let Some(kind) = export {
        ask.path.push_str("/export");
        ask.query.push(("mimeType".into(), kind));
    } else {
        ask.query.push(("alt".into(), "media".into()));
        ask.query.push(("supportsAllDrives".into(), "true".into()));
    }
    ask.max_response = 16 << 20;
    let reply = session.send(ask).await?;
    let mut out = Value::Object(shown_bytes(&reply.body));
    out["content_type"] = json!(reply.header("content-type"));
    Ok(out)
}
