//! Whether a forked child still has its parent's database open.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use levqor::error::{Error, Result};

use crate::fork::{PerProcess, generation};

/// Databases that this process has opened by itself.
static OWN: PerProcess<Mutex<HashSet<PathBuf>>> = PerProcess::new();

/// The file of a SQLite URL.
fn file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))?;
    let path = Path::new(path.split('?').next().unwrap_or(path));
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(parent.canonicalize().ok()?.join(path.file_name()?))
}

/// Refuses to open a SQLite file that the parent had open when it forked: SQLite would take the parent's locks
/// for its own, and commits could be lost.
///
/// Forks through Python close the file first; this is for those that go past it.
pub(crate) fn check(url: &str) -> Result<()> {
    let Some(file) = file(url).filter(|_| generation() > 1) else {
        return Ok(());
    };
    let own = OWN.get(|| Ok::<_, Error>(Mutex::default()))?;
    let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
    if !own.contains(&file) && is_open(&file) {
        let message = format!("this process inherited {} from its parent, open", file.display());
        return Err(Error::conflict("store.inherited_handle", message)
            .hint("call close() before the fork, or open the engine in the child only (uwsgi: lazy-apps)"));
    }
    own.insert(file);
    Ok(())
}

/// Whether a thread of the database's is still there. Known on Linux only.
pub(crate) fn has_threads() -> bool {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return false;
    };
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.flatten().any(|task| name(task).starts_with("sqlx-sqlite"))
}

/// Whether a file descriptor of this process points at the file. Known on Linux only.
pub(crate) fn is_open(path: &Path) -> bool {
    let Ok(fds) = std::fs::read_dir("/proc/self/fd") else {
        return false;
    };
    fds.flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .any(|target| target == path)
}
