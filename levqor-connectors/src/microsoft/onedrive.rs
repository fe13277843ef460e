//! OneDrive: files. <https://learn.microsoft.com/en-us/graph/api/resources/onedrive>

use levqor_core::error::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::{NEXT, graph, odata};
use crate::api::content::{shown_bytes, take_bytes, take_text};
use crate::api::{Api, Ask, Object, Pages, Session, Vendor, call, input, output};

static VENDOR: Vendor = graph(
    "onedrive",
    "OneDrive",
    "Files in a Microsoft 365 account's OneDrive.",
    "https://learn.microsoft.com/en-us/graph/api/resources/onedrive",
);

input! {
    /// A file: `text` or `base64`, of at most 250 MB.
    Upload {
        /// Where to: `folder/name.txt`.
        path: String,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// Its media type.
        content_type: Option<String>,
    }

    List {
        /// Fields that are wanted, separated by commas.
        select: Option<String>,
        /// What they are sorted by: `name`, `size`, `lastModifiedDateTime desc`.
        orderby: Option<String>,
        /// How many a page, at most 999; 200 if not given.
        #[schemars(range(min = 1, max = 999))]
        top: Option<u32>,
        /// The `next` of an earlier answer.
        next: Option<String>,
    }

    Get {
        /// The file's or folder's id.
        id: String,
        /// Fields that are wanted, separated by commas.
        select: Option<String>,
    }

    Download {
        /// The file's id.
        id: String,
    }

    #[serde(rename_all = "camelCase")]
    Share {
        /// The file's or folder's id.
        id: String,
        /// `view`, `edit` or `embed`.
        #[serde(rename = "type")]
        kind: String,
        /// `anonymous` or `organization`.
        scope: Option<String>,
        /// A password, for a personal account.
        password: Option<String>,
        /// When it ends.
        expiration_date_time: Option<String>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Item {
        /// Its id.
        id: String,
        /// Its name.
        name: Option<String>,
        /// Its size in bytes.
        size: Option<u64>,
        /// Where people see it.
        web_url: Option<String>,
        /// Its version.
        e_tag: Option<String>,
        /// What it lies in.
        parent_reference: Option<Object>,
        /// A file's media type and sums.
        file: Option<Object>,
        /// How much is in a folder.
        folder: Option<Object>,
        /// When it was made.
        created_date_time: Option<String>,
        /// When it was changed.
        last_modified_date_time: Option<String>,
    }

    Items {
        /// Files and folders.
        value: Vec<Item>,
        /// What the next page is asked for with; null at the end.
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

    Link {
        /// The permission's id.
        id: String,
        /// `webUrl`, `type`, `scope`.
        link: Option<Object>,
        /// When it ends.
        #[serde(rename = "expirationDateTime")]
        expiration_date_time: Option<String>,
    }
}

fn upload(ask: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    odata(ask, fields, session)?;
    let kind = take_text(fields, "content_type").unwrap_or_else(|| "application/octet-stream".to_owned());
    if kind.chars().any(char::is_control) {
        return Err(Error::invalid("connector.input_invalid", "a media type is one line").at("/content_type"));
    }
    ask.content(&kind, take_bytes(fields)?);
    Ok(())
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<Upload, Item>(
                "upload_file",
                "Upload a file",
                "Makes a file with this content, or replaces the one there is.",
            )
            .put("v1.0/me/drive/root:/{path*}:/content")
            .shape(upload)
            .scopes(&["Files.ReadWrite"]),
            call::<List, Items>("list_files", "List files", "Lists what lies in the drive's top folder.")
                .get("v1.0/me/drive/root/children")
                .shape(odata)
                .pages(Pages {
                    items: "/value",
                    next: NEXT,
                })
                .scopes(&["Files.Read"]),
            call::<Get, Item>("get_file", "Look at a file", "Says what is known of a file or folder.")
                .get("v1.0/me/drive/items/{id}")
                .shape(odata)
                .scopes(&["Files.Read"]),
            call::<Download, Content>("download_file", "Read a file", "Reads a file of at most 16 MiB.")
                .get("v1.0/me/drive/items/{id}")
                .shape(odata)
                .run(|session, fields| Box::pin(download(session, fields)))
                .scopes(&["Files.Read"]),
            call::<Share, Link>(
                "create_link",
                "Share a file",
                "Makes a link to a file or folder, or finds the one there is.",
            )
            .post("v1.0/me/drive/items/{id}/createLink")
            .natural()
            .shape(odata)
            .scopes(&["Files.ReadWrite"]),
        ],
    )
}

/// The item says where its content lies for an hour, for everybody who knows the address.
async fn download(session: &Session<'_>, fields: Object) -> Result<Value> {
    let item = session.send(session.ask(fields)?).await?.json()?;
    let Some(url) = item["@microsoft.graph.downloadUrl"].as_str() else {
        let message = format!("{} was not told where the content lies", session.what());
        return Err(Error::new(ErrorKind::Corrupt, "connector.unexpected_answer", message));
    };
    let mut ask = Ask::new("GET", "");
    ask.max_response = 16 << 20;
    let reply = session.send_to(url, false, ask).await?;
    let mut out = Value::Object(shown_bytes(&reply.body));
    out["content_type"] = json!(reply.header("content-type"));
    Ok(out)
}
