//! Files of one folder: the connection's `root`. No path leads out of it, by `..` or by links, whatever other
//! programs do there meanwhile: each name on the way is opened within the folder before it.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use levqor_core::connector::{Connector, Cx, Manifest, Output, Setting};
use levqor_core::error::{Effect, Error, ErrorKind, Result};
use levqor_core::types::{Millis, random_bytes};
use serde_json::{Value, json};

use crate::api::content::{hex, shown_bytes, take_bytes, take_text};
use crate::api::{Call, Object, call, input, output};
use crate::kit::{known_settings, text};

input! {
    ReadFile {
        /// Where it lies below the root: `reports/may.csv`.
        path: String,
    }

    /// A file: `text` or `base64`.
    WriteFile {
        /// Where it lies below the root; folders on the way are made.
        path: String,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// Fails with a conflict if there is one already.
        only_new: Option<bool>,
    }

    /// An addition: `text` or `base64`.
    AppendFile {
        /// Where it lies below the root; it is made if there is none.
        path: String,
        /// What is added, if it is text.
        text: Option<String>,
        /// What is added, in Base64.
        base64: Option<String>,
    }

    ListFolder {
        /// The folder below the root; the root if not given.
        path: Option<String>,
    }

    MoveFile {
        /// What is moved.
        from: String,
        /// Where to; a file that lies there is replaced.
        to: String,
    }
}

output! {
    Content {
        /// The content, if it is text.
        text: Option<String>,
        /// The content in Base64, if it is not.
        base64: Option<String>,
        /// Its size in bytes.
        size: u64,
    }

    Written {
        /// Where it lies.
        path: String,
        /// How many bytes were written.
        size: u64,
    }

    Entry {
        /// Its name.
        name: String,
        /// `file`, `folder`, `link` or `other`.
        kind: String,
        /// A file's size in bytes.
        size: Option<u64>,
        /// When it was changed, in RFC 3339.
        modified: Option<String>,
    }

    Entries {
        /// What lies in the folder, by name.
        entries: Vec<Entry>,
        /// There is more than is shown.
        truncated: bool,
    }

    Moved {
        /// Where it lies now.
        path: String,
    }

    Deleted {
        /// Whether there was one.
        deleted: bool,
    }
}

/// The largest file that is read.
const LARGEST: u64 = 16 << 20;
/// Entries of a folder that are shown at most.
const MOST: usize = 1_000;

/// The connector.
pub(crate) struct Files {
    manifest: Manifest,
}

impl Files {
    /// The connector with its manifest.
    pub(crate) fn new() -> Self {
        let calls: Vec<Call> = vec![
            call::<ReadFile, Content>("read", "Read a file", "Reads a file of at most 16 MiB.").get(""),
            call::<WriteFile, Written>(
                "write",
                "Write a file",
                "Writes a file in one step, in place of one of the same name.",
            )
            .put(""),
            call::<AppendFile, Written>("append", "Add to a file", "Adds to the end of a file.").post(""),
            call::<ListFolder, Entries>("list", "List a folder", "Lists what lies in a folder.").get(""),
            call::<MoveFile, Moved>("move", "Move a file", "Moves or renames a file or folder.").post(""),
            call::<ReadFile, Deleted>("delete", "Delete a file", "Deletes a file.").delete(""),
        ];
        Files {
            manifest: Manifest {
                name: "files".into(),
                title: "Files".into(),
                description: "Files of one folder of this machine.".into(),
                docs: Some("https://docs.rs/cap-std".into()),
                auth: vec![],
                settings: vec![Setting {
                    name: "root".into(),
                    description: "the folder; nothing outside of it can be reached".into(),
                }],
                budgets: vec![],
                triggers: vec![],
                actions: calls.into_iter().map(|c| c.action).collect(),
            },
        }
    }
}

#[async_trait]
impl Connector for Files {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let missing = || {
            let message = "files need a connection that says where they are";
            Error::new(ErrorKind::Config, "connection.missing", message).hint("give a connection with a `root`")
        };
        let connection = cx.connection.as_deref().ok_or_else(missing)?;
        known_settings(connection, &["root"])?;
        let root = text(connection, "root")?.ok_or_else(missing)?.to_owned();
        let act: fn(&Dir, Object) -> Result<Value> = match action {
            "read" => read,
            "write" => write,
            "append" => append,
            "list" => list,
            "move" => rename,
            "delete" => delete,
            _ => {
                let message = format!("there is no action `files.{action}`");
                return Err(Error::not_found("connector.unknown_action", message));
            }
        };
        let fields = input.as_object().cloned().unwrap_or_default();
        let work = move || {
            let dir = Dir::open_ambient_dir(&root, ambient_authority()).map_err(|e| {
                let message = format!("the root cannot be opened: {}", e.kind());
                Error::new(ErrorKind::Config, "files.root_unusable", message).at("root")
            })?;
            act(&dir, fields)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| Error::internal(format!("the work on a file died: {e}")))?
            .map(Output::new)
    }
}

/// A path of an input. What leads out of the root is found where it is opened.
fn path(fields: &mut Object, name: &str) -> Result<String> {
    let path = take_text(fields, name).unwrap_or_default();
    if path.is_empty() || path.contains('\0') {
        return Err(Error::invalid("files.path_invalid", "this is no path").at(format!("/{name}")));
    }
    Ok(path)
}

/// The error of the operating system, without anything of the machine's own in it.
fn fault(path: &str, e: &io::Error) -> Error {
    let shown = crate::kit::shown(path, 200);
    match e.kind() {
        io::ErrorKind::NotFound => Error::not_found("files.not_found", format!("there is no `{shown}`")),
        io::ErrorKind::AlreadyExists => Error::conflict("files.exists", format!("there is a `{shown}` already")),
        io::ErrorKind::DirectoryNotEmpty => Error::conflict("files.not_empty", format!("`{shown}` is not empty")),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Error::invalid(
            "files.wrong_kind",
            format!("`{shown}` is the wrong kind of thing for this: {}", e.kind()),
        ),
        io::ErrorKind::PermissionDenied => Error::new(
            ErrorKind::Denied,
            "files.denied",
            format!("`{shown}` lies outside the root or may not be touched"),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::unavailable("files.full", "there is no room left").retry(false)
        }
        kind => Error::unavailable("files.io", format!("`{shown}` cannot be used: {kind}")).retry(false),
    }
}

fn read(dir: &Dir, mut fields: Object) -> Result<Value> {
    let path = path(&mut fields, "path")?;
    let failed = |e: io::Error| fault(&path, &e);
    // Looked at before it is opened: opening a pipe would wait for somebody to write.
    let about = dir.metadata(&path).map_err(failed)?;
    if !about.is_file() {
        return Err(Error::invalid("files.wrong_kind", "this is no file").at("/path"));
    }
    if about.len() > LARGEST {
        return Err(Error::invalid(
            "files.too_large",
            format!("files of more than {} MiB are not read", LARGEST >> 20),
        ));
    }
    let mut bytes = Vec::new();
    let file = dir.open(&path).map_err(failed)?;
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Value::Object(shown_bytes(&bytes)))
}

fn make_way(dir: &Dir, path: &str) -> Result<()> {
    match Path::new(path).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => dir.create_dir_all(parent).map_err(|e| fault(path, &e)),
        _ => Ok(()),
    }
}

/// Written beside, then put in place: nobody sees half of it.
fn write(dir: &Dir, mut fields: Object) -> Result<Value> {
    let (path, bytes) = (path(&mut fields, "path")?, take_bytes(&mut fields)?);
    let failed = |e: io::Error| fault(&path, &e);
    let only_new = fields.get("only_new") == Some(&Value::Bool(true));
    if Path::new(&path).file_name().is_none() {
        return Err(Error::invalid("files.path_invalid", "this is not the name of a file").at("/path"));
    }
    make_way(dir, &path)?;
    let beside = Path::new(&path).with_file_name(format!(".levqor-{}", hex(&random_bytes::<12>())));
    let mut options = OpenOptions::new();
    let mut file = dir.open_with(&beside, options.write(true).create_new(true)).map_err(failed)?;
    let placed = file.write_all(&bytes).and_then(|()| file.sync_all()).and_then(|()| {
        if only_new {
            // A second name for it, which fails if the name is taken; then the first one goes.
            dir.hard_link(&beside, dir, &path)?;
            return dir.remove_file(&beside);
        }
        dir.rename(&beside, dir, &path)
    });
    if let Err(e) = placed {
        let _ = dir.remove_file(&beside);
        return Err(failed(e));
    }
    Ok(json!({"path": path, "size": bytes.len()}))
}

fn append(dir: &Dir, mut fields: Object) -> Result<Value> {
    let (path, bytes) = (path(&mut fields, "path")?, take_bytes(&mut fields)?);
    let failed = |e: io::Error| fault(&path, &e);
    if dir.metadata(&path).is_ok_and(|about| !about.is_file()) {
        return Err(Error::invalid("files.wrong_kind", "this is no file").at("/path"));
    }
    make_way(dir, &path)?;
    let mut options = OpenOptions::new();
    let mut file = dir.open_with(&path, options.append(true).create(true)).map_err(failed)?;
    let added = file.write_all(&bytes).and_then(|()| file.sync_all());
    added.map_err(|e| failed(e).effect_is(Effect::Unknown))?;
    Ok(json!({"path": path, "size": bytes.len()}))
}

fn list(dir: &Dir, mut fields: Object) -> Result<Value> {
    let path = take_text(&mut fields, "path")
        .filter(|p| !p.is_empty())
        .unwrap_or_else(|| ".".into());
    let failed = |e: io::Error| fault(&path, &e);
    let mut entries = Vec::new();
    let mut truncated = false;
    for entry in dir.read_dir(&path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entries.len() == MOST {
            truncated = true;
            break;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        // Gone since: not there.
        let Ok(about) = entry.metadata() else { continue };
        let kind = entry.file_type().map_err(failed)?;
        let kind = match kind {
            k if k.is_symlink() => "link",
            k if k.is_dir() => "folder",
            k if k.is_file() => "file",
            _ => "other",
        };
        let modified = about.modified().ok().and_then(|t| {
            let since = t.into_std().duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(Millis::from(since).rfc3339())
        });
        let size = (kind == "file").then(|| about.len());
        entries.push((
            name.clone(),
            json!({"name": name, "kind": kind, "size": size, "modified": modified}),
        ));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let entries: Vec<Value> = entries.into_iter().map(|(_, entry)| entry).collect();
    Ok(json!({"entries": entries, "truncated": truncated}))
}

fn rename(dir: &Dir, mut fields: Object) -> Result<Value> {
    let (from, to) = (path(&mut fields, "from")?, path(&mut fields, "to")?);
    make_way(dir, &to)?;
    dir.rename(&from, dir, &to).map_err(|e| fault(&from, &e))?;
    Ok(json!({"path": to}))
}

fn delete(dir: &Dir, mut fields: Object) -> Result<Value> {
    let path = path(&mut fields, "path")?;
    match dir.remove_file(&path) {
        Ok(()) => Ok(json!({"deleted": true})),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(json!({"deleted": false})),
        Err(e) => Err(fault(&path, &e)),
    }
}
