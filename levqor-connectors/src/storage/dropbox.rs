//! Dropbox: files and folders. <https://www.dropbox.com/developers/documentation/http/documentation>

use std::fmt::Write as _;

use levqor_core::error::Result;
use serde_json::{Value, json};

use crate::api::content::{shown_bytes, take_bytes};
use crate::api::oauth::Grant;
use crate::api::{Api, Ask, Auth, Class, Faults, Next, Object, Pages, Session, Style, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://www.dropbox.com/developers/documentation/http/documentation",
    base: "https://api.dropboxapi.com",
    auth: &[Auth::Renewed(&Grant::code("https://api.dropboxapi.com/oauth2/token"))],
    settings: &[("content_base_url", "another address of the interface for files' content")],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &[
            "/error/.tag",
            "/error/path/.tag",
            "/error/path_lookup/.tag",
            "/error/reason/.tag",
        ],
        rules: &[
            ("expired_access_token", Class::Expired),
            ("invalid_access_token", Class::Unauthorized),
            ("missing_scope", Class::Permission),
            ("no_permission", Class::Permission),
            ("no_write_permission", Class::Permission),
            ("not_found", Class::NotFound),
            ("conflict", Class::Conflict),
            ("malformed_path", Class::Invalid),
            ("disallowed_name", Class::Invalid),
            ("insufficient_space", Class::Quota),
            ("shared_link_already_exists", Class::Conflict),
            ("too_many_requests", Class::RateLimited),
            ("too_many_write_operations", Class::RateLimited),
            ("reset", Class::Invalid),
        ],
        waits: &[crate::api::Wait::Body("/error/retry_after")],
        ..Faults::HTTP
    },
    ..Vendor::new("dropbox", "Dropbox", "Files and folders at Dropbox.")
};

input! {
    /// A file: `text` or `base64`, of at most 150 MB.
    Upload {
        /// Where to: `/folder/name.txt`.
        path: String,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// If there is a file: `add` leaves it, `overwrite` replaces it, an object with `.tag` `update` and `update`
        /// replaces that revision.
        mode: Option<Value>,
        /// Gives it another name if there is one of this name.
        autorename: Option<bool>,
        /// When it was changed: `2026-03-01T12:00:00Z`.
        client_modified: Option<String>,
        /// Tells nobody.
        mute: Option<bool>,
    }

    Download {
        /// Which file: its path, `id:…` or `rev:…`.
        path: String,
    }

    ListFolder {
        /// Which folder; an empty text for the one that everything lies in.
        path: String,
        /// Folders in it too.
        recursive: Option<bool>,
        /// What was deleted too.
        include_deleted: Option<bool>,
        /// How many a page, at most 2000.
        #[schemars(range(min = 1, max = 2000))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        cursor: Option<String>,
    }

    GetMetadata {
        /// Of what: a path, `id:…` or `rev:…`.
        path: String,
    }

    CreateFolder {
        /// Where.
        path: String,
        /// Gives it another name if there is one of this name.
        autorename: Option<bool>,
    }

    Move {
        /// What.
        from_path: String,
        /// Where to.
        to_path: String,
        /// Gives it another name if there is one of this name.
        autorename: Option<bool>,
    }

    Delete {
        /// What: a file, or a folder with everything in it.
        path: String,
        /// Only this revision of a file.
        parent_rev: Option<String>,
    }

    Search {
        /// Words.
        #[schemars(length(min = 1, max = 1000))]
        query: String,
        /// `path`, `max_results`, `filename_only`, `file_extensions`, ...
        options: Option<Object>,
        /// The `next` of an earlier answer.
        cursor: Option<String>,
    }

    Share {
        /// What.
        path: String,
        /// `audience`, `access`, `expires`, `require_password`, `link_password`, `allow_download`.
        settings: Option<Object>,
    }
}

output! {
    Entry {
        /// `file`, `folder` or `deleted`.
        #[serde(rename = ".tag")]
        kind: Option<String>,
        /// Its id.
        id: Option<String>,
        /// Its name.
        name: String,
        /// Its path as people see it.
        path_display: Option<String>,
        /// Its path in lower case.
        path_lower: Option<String>,
        /// A file's revision.
        rev: Option<String>,
        /// A file's size in bytes.
        size: Option<u64>,
        /// When Dropbox got it.
        server_modified: Option<String>,
        /// When it was changed.
        client_modified: Option<String>,
        /// Dropbox's sum of its content.
        content_hash: Option<String>,
    }

    Entries {
        /// Files and folders.
        entries: Vec<Entry>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }

    Content {
        /// The content, if it is text.
        text: Option<String>,
        /// The content in Base64, if it is not.
        base64: Option<String>,
        /// Its size in bytes.
        size: u64,
        /// The file's revision.
        rev: Option<String>,
        /// The file's name.
        name: Option<String>,
    }

    Matches {
        /// Each with `metadata`.
        matches: Vec<Object>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }

    Link {
        /// The link.
        url: String,
        /// The name of what it leads to.
        name: Option<String>,
        /// The path of what it leads to.
        path_lower: Option<String>,
        /// When it ends.
        expires: Option<String>,
    }
}

const CONTENT: (&str, &str) = ("content_base_url", "https://content.dropboxapi.com");
const HEADER: &str = "dropbox-api-arg";

/// JSON that stands in a header: everything beyond ASCII as `\uXXXX`.
fn argument(value: &Value) -> String {
    let mut out = String::new();
    for unit in value.to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(b @ b' '..=b'~') => out.push(char::from(b)),
            _ => {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// The next page is asked for elsewhere, by its cursor alone.
fn continued(ask: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    if let Some(cursor) = fields.remove("cursor") {
        ask.path = ask
            .path
            .replace("list_folder", "list_folder/continue")
            .replace("search_v2", "search/continue_v2");
        *fields = Object::from_iter([("cursor".to_owned(), cursor)]);
    }
    Ok(())
}

const BY_CURSOR: Next = Next::Flagged("/has_more", "/cursor", "cursor");

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<Upload, Entry>(
                "upload_file",
                "Upload a file",
                "Makes a file with this content, or replaces one.",
            )
            .post("2/files/upload")
            .host(CONTENT.0, CONTENT.1)
            .shape(|ask, fields, _| {
                let bytes = take_bytes(fields)?;
                ask.header(HEADER, &argument(&Value::Object(std::mem::take(fields))));
                ask.content("application/octet-stream", bytes);
                Ok(())
            })
            .scopes(&["files.content.write"]),
            call::<Download, Content>("download_file", "Read a file", "Reads a file of at most 16 MiB.")
                .post("2/files/download")
                .reads()
                .host(CONTENT.0, CONTENT.1)
                .run(|session, fields| Box::pin(download(session, fields)))
                .scopes(&["files.content.read"]),
            call::<ListFolder, Entries>("list_folder", "List a folder", "Lists what lies in a folder.")
                .post("2/files/list_folder")
                .reads()
                .shape(continued)
                .pages(Pages {
                    items: "/entries",
                    next: BY_CURSOR,
                })
                .scopes(&["files.metadata.read"]),
            call::<GetMetadata, Entry>("get_metadata", "Look at a file", "Says what is known of a file or folder.")
                .post("2/files/get_metadata")
                .reads()
                .scopes(&["files.metadata.read"]),
            call::<CreateFolder, Entry>("create_folder", "Make a folder", "Makes a folder.")
                .post("2/files/create_folder_v2")
                .at("/metadata")
                .scopes(&["files.content.write"]),
            call::<Move, Entry>("move", "Move a file", "Moves a file or folder, or gives it another name.")
                .post("2/files/move_v2")
                .at("/metadata")
                .scopes(&["files.content.write"]),
            call::<Delete, Entry>(
                "delete",
                "Delete a file",
                "Deletes a file, or a folder with everything in it.",
            )
            .post("2/files/delete_v2")
            .destructive()
            .at("/metadata")
            .scopes(&["files.content.write"]),
            call::<Search, Matches>("search", "Search", "Finds files and folders.")
                .post("2/files/search_v2")
                .reads()
                .shape(continued)
                .pages(Pages {
                    items: "/matches",
                    next: BY_CURSOR,
                })
                .scopes(&["files.metadata.read"]),
            call::<Share, Link>("share", "Share a file", "Makes a link to a file or folder.")
                .post("2/sharing/create_shared_link_with_settings")
                .scopes(&["sharing.write"]),
        ],
    )
}

async fn download(session: &Session<'_>, mut fields: Object) -> Result<Value> {
    let mut ask = Ask::new("POST", "2/files/download");
    ask.host = Some(CONTENT);
    ask.header(HEADER, &argument(&json!({"path": fields.remove("path")})));
    ask.max_response = 16 << 20;
    let reply = session.send(ask).await?;
    let about: Value = reply
        .header("dropbox-api-result")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut out = Value::Object(shown_bytes(&reply.body));
    out["rev"] = about["rev"].clone();
    out["name"] = about["name"].clone();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_plain_ascii() {
        let value = json!({"path": "/Größe 𝄞\u{7f}\n"});
        let text = argument(&value);
        assert_eq!(text, r#"{"path":"/Gr\u00f6\u00dfe \ud834\udd1e\u007f\n"}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
    }
}
