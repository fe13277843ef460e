//! Where secrets come from that are not kept here: the environment, files, or whatever the host has.

use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::types::Tenant;

/// Gives secrets by name. In the settings of a connection `{"$secret": "name"}` stands for one.
#[async_trait]
pub trait Secrets: Send + Sync + 'static {
    /// The secret of a name, as far as this tenant may have it.
    async fn secret(&self, tenant: &Tenant, name: &str) -> Result<Option<String>>;
}

/// Secrets of the environment. Only variables that begin with the prefix can be asked for, since whoever may make a
/// connection may name any of them: `stripe` is the variable `<PREFIX>STRIPE`.
#[derive(Clone, Debug)]
pub struct EnvSecrets {
    prefix: String,
}

impl EnvSecrets {
    /// Secrets in variables that begin with this, like `LEVQOR_SECRET_`.
    pub fn new(prefix: impl Into<String>) -> Self {
        EnvSecrets { prefix: prefix.into() }
    }
}

#[async_trait]
impl Secrets for EnvSecrets {
    async fn secret(&self, _: &Tenant, name: &str) -> Result<Option<String>> {
        let name = plain(name)?.to_ascii_uppercase().replace('-', "_");
        Ok(std::env::var(format!("{}{name}", self.prefix)).ok())
    }
}

/// Secrets in files of one folder, as Docker and Kubernetes mount them: the file's name is the secret's. A line break
/// at the end does not count.
#[derive(Clone, Debug)]
pub struct FileSecrets {
    folder: PathBuf,
}

impl FileSecrets {
    /// Secrets in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        FileSecrets { folder: folder.into() }
    }
}

#[async_trait]
impl Secrets for FileSecrets {
    async fn secret(&self, _: &Tenant, name: &str) -> Result<Option<String>> {
        let path = self.folder.join(plain(name)?);
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => {
                let message = format!("the secret `{name}` cannot be read: {}", e.kind());
                Err(Error::unavailable("secret.unreadable", message))
            }
        }
    }
}

/// A name that is one and leads nowhere else.
fn plain(name: &str) -> Result<&str> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if name.is_empty() || name.len() > 100 || !name.bytes().all(good) {
        let message = "a secret's name has 1 to 100 letters, digits, hyphens and underscores";
        return Err(Error::new(ErrorKind::Config, "secret.name_invalid", message));
    }
    Ok(name)
}

/// Puts secrets in where settings name them.
pub(super) async fn resolve(settings: &mut Value, tenant: &Tenant, secrets: Option<&dyn Secrets>) -> Result<()> {
    let Some(settings) = settings.as_object_mut() else {
        return Ok(());
    };
    for (field, value) in settings {
        let items: Vec<&mut Value> = match value {
            Value::Array(list) => list.iter_mut().collect(),
            one => vec![one],
        };
        for item in items {
            let Some(name) = item.as_object().filter(|o| o.len() == 1).and_then(|o| o.get("$secret")) else {
                continue;
            };
            let name = name.as_str().unwrap_or_default();
            let found = match secrets {
                Some(secrets) => secrets.secret(tenant, name).await.map_err(|e| e.at(field.as_str()))?,
                None => None,
            };
            let missing = || {
                let e = Error::new(ErrorKind::Config, "secret.unknown", format!("there is no secret `{name}`"));
                e.at(field.as_str()).hint("give it to where the engine looks for secrets")
            };
            *item = found.filter(|text| !text.is_empty()).ok_or_else(missing)?.into();
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn secrets_come_from_one_folder_and_from_nowhere_else() {
        let folder = std::env::temp_dir().join(format!("levqor-secrets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("stripe"), "sk_1\n").unwrap();
        let secrets = FileSecrets::new(&folder);
        let tenant = Tenant::default();
        let mut settings = json!({"token": {"$secret": "stripe"}, "list": [{"$secret": "stripe"}, "b"], "plain": {"a": 1}});
        resolve(&mut settings, &tenant, Some(&secrets)).await.unwrap();
        assert_eq!(settings, json!({"token": "sk_1", "list": ["sk_1", "b"], "plain": {"a": 1}}));
        for (name, code) in [
            ("none", "secret.unknown"),
            ("../stripe", "secret.name_invalid"),
            ("", "secret.name_invalid"),
            ("a/b", "secret.name_invalid"),
        ] {
            let e = resolve(&mut json!({"token": {"$secret": name}}), &tenant, Some(&secrets))
                .await
                .unwrap_err();
            assert_eq!((e.code(), e.place()), (code, Some("token")), "{name}");
        }
        let e = resolve(&mut json!({"token": {"$secret": "stripe"}}), &tenant, None)
            .await
            .unwrap_err();
        assert_eq!(e.code(), "secret.unknown");
        std::fs::remove_dir_all(folder).unwrap();
        let env = EnvSecrets::new("CARGO_PKG_");
        assert_eq!(env.secret(&tenant, "name").await.unwrap().as_deref(), Some("levqor-core"));
        assert_eq!(env.secret(&tenant, "no-such").await.unwrap(), None);
    }
}
