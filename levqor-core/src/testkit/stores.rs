//! Fresh, empty stores for tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::memory::MemoryStore;
use crate::store::Store;
use crate::types::random_bytes;

/// One empty store, opened twice: what two processes would have. (In memory, the same one twice.)
pub struct Stores {
    /// The one.
    pub first: Arc<dyn Store>,
    /// The other.
    pub second: Arc<dyn Store>,
    keep: Option<Folder>,
}

impl Stores {
    /// Two handles of one store.
    pub fn new(first: Arc<dyn Store>, second: Arc<dyn Store>) -> Self {
        Stores {
            first,
            second,
            keep: None,
        }
    }

    /// Keeps a folder until the test is over.
    #[must_use]
    pub fn keeping(self, folder: Folder) -> Self {
        Stores {
            keep: Some(folder),
            ..self
        }
    }

    /// The folder that is kept.
    pub fn folder(&self) -> Option<&Path> {
        self.keep.as_ref().map(Folder::path)
    }
}

/// A folder of its own, removed when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one in the system's folder for such things.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new() -> Self {
        let dir = std::env::temp_dir().join(unique("levqor-test-"));
        if let Err(e) = std::fs::create_dir_all(&dir) {
            panic!("the folder {} cannot be made: {e}", dir.display());
        }
        Folder(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unique(prefix: &str) -> String {
    format!("{prefix}{:016x}", u64::from_be_bytes(random_bytes()))
}

/// A memory store.
#[allow(clippy::unused_async, reason = "all stores are opened alike")]
pub async fn memory() -> Stores {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    Stores::new(store.clone(), store)
}

/// A SQLite file in a folder of its own.
///
/// # Panics
/// If it cannot be opened.
#[cfg(feature = "sqlite")]
pub async fn sqlite() -> Stores {
    use crate::backend::sql::{SqlOptions, open_sqlite};
    let folder = Folder::new();
    let url = format!("sqlite://{}", folder.path().join("levqor.db").display());
    let open = async || match open_sqlite(&url, &SqlOptions::default(), crate::clock::SystemClock::machine()).await {
        Ok(store) => Arc::new(store),
        Err(e) => panic!("{url} cannot be opened: {e}"),
    };
    Stores::new(open().await, open().await).keeping(folder)
}

/// A database of its own on the server of the environment variable `LEVQOR_TEST_POSTGRES_URL`, or, if
/// that is not set, on a private server that this process starts once.
///
/// # Panics
/// If there is no such server, or the database cannot be made.
#[cfg(feature = "postgres")]
pub async fn postgres() -> Stores {
    use crate::backend::sql::{SqlOptions, open_postgres};
    let url = postgres_database().await;
    let open = async || match open_postgres(&url, &SqlOptions::default(), crate::clock::SystemClock::machine()).await {
        Ok(store) => Arc::new(store),
        Err(e) => panic!("the test's database cannot be opened: {e}"),
    };
    Stores::new(open().await, open().await)
}

/// The address of a new, empty database; see [`postgres`].
///
/// # Panics
/// If it cannot be made.
#[cfg(feature = "postgres")]
pub async fn postgres_database() -> String {
    use std::str::FromStr;
    use std::sync::OnceLock;

    use sqlx::postgres::{PgConnectOptions, PgConnection};
    use sqlx::{AssertSqlSafe, Connection, Executor};

    use super::RunningPostgres;
    use super::services::Service;

    static PRIVATE: OnceLock<RunningPostgres> = OnceLock::new();
    let server =
        std::env::var("LEVQOR_TEST_POSTGRES_URL").unwrap_or_else(|_| PRIVATE.get_or_init(Service::postgres).url("postgres"));
    let name = unique("levqor_test_");
    let made = async {
        let mut conn = PgConnection::connect(&server).await?;
        conn.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        conn.close().await?;
        let mut url = url::Url::parse(&server).map_err(|e| sqlx::Error::Configuration(e.into()))?;
        url.set_path(&name);
        PgConnectOptions::from_str(url.as_str())?;
        Ok::<_, sqlx::Error>(url.to_string())
    };
    match made.await {
        Ok(url) => url,
        Err(e) => panic!("the tests need a Postgres server on which they may make databases: {e}"),
    }
}
