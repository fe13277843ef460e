//! Packs: which checks are run against which system, declared in TOML, YAML or JSON.
//!
//! ```
//! use levqor_integrity::{Format, Pack};
//!
//! let pack = Pack::parse(
//!     r#"
//!     version = 1
//!     system = "Shop"
//!     environment = "production"
//!
//!     [targets]
//!     api = "https://api.example.com"
//!     frontend = "https://www.example.com"
//!
//!     [databases.main]
//!     url = { env = "DATABASE_URL" }
//!
//!     [check."http.health.main"]
//!     json = { "/status" = "ok" }
//!     warn = "500ms"
//!
//!     [[waiver]]
//!     check = "headers.security"
//!     reason = "the CSP is rolled out with release 12"
//!     owner = "ann@example.com"
//!     expires = "2026-12-31"
//!     "#,
//!     Format::Toml,
//! )
//! .unwrap();
//! assert_eq!(pack.checks.len(), 22);
//!
//! let e = Pack::parse("version = 1\n[check.\"http.helth.main\"]\n", Format::Toml).unwrap_err();
//! assert!(e.fault_list()[0].message.contains("did you mean `http.health.main`?"), "{e:?}");
//! ```

mod document;
mod reader;

pub use document::Format;
pub(crate) use reader::{Endpoint, Reader, Text};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use levqor_core::clock::Clock;
use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::pipeline::suggest::did_you_mean;
use levqor_core::transport::Transport;
use levqor_core::types::Millis;
use serde_json::{Map, Value};

use crate::check::{About, Check};
use crate::checks::{self, Basics, STANDARD};
use crate::deliver::Destination;
use crate::environment::{Environment, Mask};
use crate::outcome::{Finding, Outcome};
use crate::runner::{IntegrityRun, Planned, RunOptions};
use crate::sha256_hex;
use crate::tls::Roots;
use crate::waiver::{Waiver, parse_until};

/// A pack that was read.
#[derive(Clone)]
pub struct Pack {
    /// Its name.
    pub name: String,
    /// The system that is checked.
    pub system: String,
    /// Where it stands: `production`, `staging`, ...
    pub environment: String,
    /// SHA-256 of its text, in hex.
    pub digest: String,
    /// The checks, in the order in which they are reported.
    pub checks: Vec<Planned>,
    /// What was left out, with the reason.
    pub excluded: Vec<(String, String)>,
    /// Failures for which somebody has taken responsibility.
    pub waivers: Vec<Waiver>,
    /// How the run behaves.
    pub options: RunOptions,
    /// How reports look: free for those who draw them.
    pub report: Value,
    /// Where evidence goes.
    pub deliveries: Vec<Destination>,
    targets: Vec<(String, Text)>,
    databases: Vec<(String, Text)>,
    authorities: Vec<PathBuf>,
    redact: Vec<String>,
    pub(crate) folder: PathBuf,
}

/// The names of places that customers use.
const LIVE: &[&str] = &["production", "prod", "live"];

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({}, {} checks)", self.name, self.checks.len())
    }
}

impl Pack {
    /// Reads a pack. Every fault of it is in the error, with its path.
    pub fn parse(text: &str, format: Format) -> Result<Self> {
        let value = format.read(text)?;
        Pack::of(&value, &sha256_hex(text.as_bytes()), Path::new("."))
    }

    /// Reads a pack from a file; files that it names are looked for beside it.
    pub fn load(path: &Path) -> Result<Self> {
        let format = Format::of(path).ok_or_else(|| {
            let message = format!("{} ends in none of .toml, .yaml, .yml and .json", path.display());
            Error::invalid("pack.unknown_format", message)
        })?;
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::invalid("pack.unreadable", format!("the pack {} cannot be read: {e}", path.display())))?;
        let value = format.read(&text).map_err(|e| match e.place() {
            Some(place) => e.clone().at(format!("{}, {place}", path.display())),
            None => e.at(path.display().to_string()),
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Pack::of(&value, &sha256_hex(text.as_bytes()), folder)
    }

    fn of(value: &Value, digest: &str, folder: &Path) -> Result<Self> {
        let faults = RefCell::new(Vec::new());
        let top = Reader::new(value, "", &faults);
        if top.int_or("version", 1..=1, 0) != 1 && top.raw("version").is_none() {
            top.fault("version", "pack.version", "`version = 1` has to stand in the pack");
        }
        let name = top.text_or("name", "default");
        let system = top.text_or("system", "system");
        let environment = top.text_or("environment", "production");
        let targets = top.sources("targets");
        for (name, text) in &targets {
            if let Text::Literal(url) = text {
                top.table("targets").url_is_good(name, url);
            }
        }
        let mut databases = Vec::new();
        for (name, r) in top.tables("databases") {
            match r.source("url") {
                Some(url) => databases.push((name, url)),
                None => r.fault("url", "pack.missing", "a database has to have a `url`"),
            }
            r.finish();
        }
        let run = top.table("run");
        let options = RunOptions {
            deadline: run.wait("deadline").unwrap_or(RunOptions::default().deadline),
            per_host: usize::try_from(run.int_or("per_host", 1..=10_000, 64)).unwrap_or(64),
        };
        let common = Common {
            timeout: run.wait("timeout").unwrap_or(Millis::secs(10)),
            retries: run.int_or("retries", 0..=10, 0),
            backoff: run.wait("backoff").unwrap_or(Millis(200)),
        };
        run.finish();

        let basics = Basics {
            targets: &targets,
            databases: &databases,
            folder,
        };
        let (checks, mut excluded) = read_checks(&top, &basics, &common, &faults);
        let mut redact = top.texts("redact").unwrap_or_default();
        redact.sort();
        let waivers = read_waivers(&top, &checks);
        let mut deliveries = Vec::new();
        for r in top.list("deliver") {
            deliveries.push(Destination::read(&r));
            r.finish();
        }
        let authorities = top.texts("authorities").unwrap_or_default();
        let report = top.raw("report").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        top.finish();
        excluded.sort();
        let faults = faults.into_inner();
        if !faults.is_empty() {
            let n = faults.len();
            let message = format!(
                "the pack has {n} fault{}: {}",
                if n == 1 { "" } else { "s" },
                faults[0].message
            );
            return Err(Error::faults("pack.invalid", message, faults));
        }
        Ok(Pack {
            name,
            system,
            environment,
            digest: digest.to_owned(),
            checks,
            excluded,
            waivers,
            options,
            report,
            deliveries,
            targets,
            databases,
            authorities: authorities.iter().map(|a| folder.join(a)).collect(),
            redact,
            folder: folder.to_owned(),
        })
    }

    /// Whether customers use the system: then its keys have to be live ones.
    pub fn live(&self) -> bool {
        LIVE.contains(&self.environment.to_ascii_lowercase().as_str())
    }

    /// The targets that are written out in the pack, by name.
    pub fn targets(&self) -> BTreeMap<String, String> {
        let shown = |t: &Text| match t {
            Text::Literal(url) => url.clone(),
            Text::Env(name) => format!("${name}"),
        };
        self.targets.iter().map(|(n, t)| (n.clone(), shown(t))).collect()
    }

    /// Keeps only the checks whose id fits one of these: whole, or a beginning with `*` behind it. One that fits nothing is
    /// an error.
    pub fn select(&mut self, wanted: &[String]) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let fits = |want: &str, planned: &Planned| {
            let id = planned.check.id();
            match want.strip_suffix('*') {
                Some(start) => id.starts_with(start),
                None => id == want || planned.check.about().group == want,
            }
        };
        for want in wanted {
            if !self.checks.iter().any(|p| fits(want, p)) {
                let ids = self.checks.iter().map(|p| p.check.id());
                let known = did_you_mean(want, ids.chain(["integrity", "finalizer", "audit"]));
                let message = format!("no check of the pack fits `{want}`{known}");
                return Err(Error::invalid("integrity.no_checks", message).hint("see levqor integrity list"));
            }
        }
        let (keep, rest) = std::mem::take(&mut self.checks)
            .into_iter()
            .partition(|p| wanted.iter().any(|w| fits(w, p)));
        self.checks = keep;
        let left: Vec<Planned> = rest;
        self.excluded.extend(
            left.iter()
                .map(|p| (p.check.id().to_owned(), "not selected for this run".to_owned())),
        );
        self.excluded.sort();
        Ok(())
    }

    /// The authorities that the pack adds to the system's.
    pub fn roots(&self) -> Result<Roots> {
        let mut roots = Roots::default();
        for path in &self.authorities {
            let what = path.display().to_string();
            let pem = std::fs::read_to_string(path)
                .map_err(|e| Error::new(ErrorKind::Config, "pack.unreadable", format!("{what} cannot be read: {e}")))?;
            roots.add_pem(&what, &pem)?;
        }
        Ok(roots)
    }

    /// The secrets that the pack itself names or holds.
    fn secrets(&self, env: &Environment) -> Vec<String> {
        let named = self.redact.iter().filter_map(|n| env.get(n));
        let addresses = self
            .databases
            .iter()
            .filter_map(|(_, t)| t.get(env))
            .filter(|a| a.contains('@'));
        named.chain(addresses).map(str::to_owned).collect()
    }

    /// What takes the secrets of the environment and of the pack out of texts.
    pub fn mask(&self, env: &Environment) -> Mask {
        env.redactor(&self.secrets(env))
    }

    /// A run of the pack's checks.
    pub fn run(&self, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>, env: Environment) -> Result<IntegrityRun> {
        let mut run = IntegrityRun::new(self.checks.clone(), transport, clock)
            .options(self.options.clone())
            .waivers(self.waivers.clone())
            .roots(self.roots()?)
            .live(self.live())
            .secrets(self.secrets(&env));
        for (name, url) in &self.databases {
            if let Some(url) = url.get(&env) {
                run = run.database(
                    name,
                    crate::db::open(url).map_err(|e| e.at(format!("/databases/{name}/url")))?,
                );
            }
        }
        Ok(run.env(env))
    }
}

struct Common {
    timeout: Millis,
    retries: i64,
    backoff: Millis,
}

/// The standard checks that are included, with what the pack says about them, and the pack's own.
fn read_checks(
    top: &Reader<'_>,
    basics: &Basics<'_>,
    common: &Common,
    faults: &RefCell<Vec<levqor_core::error::Fault>>,
) -> (Vec<Planned>, Vec<(String, String)>) {
    let include = top
        .texts("include")
        .unwrap_or_else(|| vec!["integrity".into(), "finalizer".into()]);
    for word in &include {
        let known = ["integrity", "finalizer", "audit"]
            .into_iter()
            .chain(STANDARD.iter().map(|s| s.id));
        if !known.clone().any(|k| k == word) {
            let message = format!("there is no group and no check `{word}`{}", did_you_mean(word, known));
            top.fault("include", "pack.unknown_check", message);
        }
    }
    let declared = top.members("check");
    let mut planned = Vec::new();
    let mut excluded = Vec::new();
    let at = |id: &str| format!("/check/{}", id.replace('~', "~0").replace('/', "~1"));
    for standard in STANDARD {
        let own = declared.iter().find(|(id, _)| id == standard.id).map(|(_, v)| v.clone());
        let wanted = include.iter().any(|w| w == standard.group || w == standard.id);
        if !wanted && own.is_none() {
            excluded.push((
                standard.id.to_owned(),
                format!("the pack does not include the group {}", standard.group),
            ));
            continue;
        }
        let mut params = (standard.defaults)();
        match own {
            None => {}
            Some(Value::Object(own)) => {
                for (key, value) in own {
                    params[key] = value;
                }
            }
            Some(_) => top.fault("check", "pack.wrong_type", format!("`{}` has to be a table", standard.id)),
        }
        let reader = Reader::new(&params, at(standard.id), faults);
        let built = checks::build(standard.kind, standard.id, &reader, basics);
        let about = standard.about();
        plan(built, about, standard.requires, &reader, common, &mut planned, &mut excluded);
        reader.finish();
    }
    for (id, params) in declared.iter().filter(|(id, _)| !checks::is_standard(id)) {
        let reader = Reader::new(params, at(id), faults);
        let Some(kind) = reader.text("uses") else {
            let known = did_you_mean(id, STANDARD.iter().map(|s| s.id));
            let message = format!("there is no check `{id}`{known}; a check of your own says what it `uses`");
            reader.fault("", "pack.unknown_check", message);
            continue;
        };
        let built = checks::build(&kind, id, &reader, basics);
        if built.is_none() {
            let kinds: Vec<&str> = checks::KINDS.to_vec();
            let known = did_you_mean(&kind, kinds.iter().copied());
            let message = format!("`{kind}` is no kind of check{known}");
            reader.fault("uses", "pack.unknown_kind", message);
            continue;
        }
        let about = About {
            title: reader.text_or("title", id),
            category: kind,
            ..About::default()
        };
        plan(built, about, &[], &reader, common, &mut planned, &mut excluded);
        reader.finish();
    }
    if planned.is_empty() {
        top.fault("include", "pack.no_checks", "the pack selects no check");
    }
    (planned, excluded)
}

/// What every check understands, whatever it looks at.
fn plan(
    built: Option<Arc<dyn Check>>,
    mut about: About,
    requires: &[&str],
    r: &Reader<'_>,
    common: &Common,
    planned: &mut Vec<Planned>,
    excluded: &mut Vec<(String, String)>,
) {
    let severity = match about.severity.as_str() {
        "critical" => "critical",
        "medium" => "medium",
        "low" => "low",
        _ => "high",
    };
    r.choice("severity", &["critical", "high", "medium", "low"], severity)
        .clone_into(&mut about.severity);
    about.objective = r.text("objective").unwrap_or(about.objective);
    about.controls = r.texts("controls").unwrap_or(about.controls);
    let more = r.texts("requires").unwrap_or_default();
    let timeout = r.wait("timeout").unwrap_or(common.timeout);
    let retries = u32::try_from(r.int_or("retries", 0..=10, common.retries)).unwrap_or(0);
    let backoff = r.wait("backoff").unwrap_or(common.backoff);
    let left_out = r.text("exclude");
    let Some(check) = built else { return };
    if let Some(reason) = left_out {
        excluded.push((check.id().to_owned(), reason));
        return;
    }
    let check = Arc::new(Described {
        inner: check,
        about,
        requires: requires.iter().map(|s| (*s).to_owned()).collect(),
    });
    planned.push(Planned {
        check,
        timeout,
        retries,
        backoff,
        requires: more,
    });
}

/// A check with what the pack says about it.
struct Described {
    inner: Arc<dyn Check>,
    about: About,
    requires: Vec<String>,
}

#[async_trait::async_trait]
impl Check for Described {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn run(&self, cx: &crate::check::CheckCx) -> Outcome {
        self.inner.run(cx).await
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    fn requires(&self) -> Vec<String> {
        self.requires.clone()
    }

    fn eager(&self) -> bool {
        true
    }
}

fn read_waivers(top: &Reader<'_>, checks: &[Planned]) -> Vec<Waiver> {
    let mut waivers = Vec::new();
    for r in top.list("waiver") {
        let need = |key: &'static str, why: &str| {
            let text = r.text(key).unwrap_or_default();
            if text.trim().is_empty() {
                r.fault(key, "pack.missing", format!("a waiver has to say {why}"));
            }
            text
        };
        let waiver = Waiver {
            check: need("check", "which check it is for"),
            cause: r.text("cause"),
            reason: need("reason", "why the failure is accepted"),
            owner: need("owner", "who takes responsibility"),
            expires: need("expires", "until when it holds"),
        };
        if !waiver.expires.is_empty() && parse_until(&waiver.expires).is_none() {
            let message = format!("`{}` is no day like 2026-12-31 and no RFC 3339 instant", waiver.expires);
            r.fault("expires", "pack.bad_value", message);
        }
        let ids = checks.iter().map(|p| p.check.id());
        if !waiver.check.is_empty() && !ids.clone().any(|id| id == waiver.check) && !checks::is_standard(&waiver.check) {
            let known = did_you_mean(&waiver.check, ids);
            let message = format!("there is no check `{}`{known}", waiver.check);
            r.fault("check", "pack.unknown_check", message);
        }
        r.finish();
        waivers.push(waiver);
    }
    waivers
}

/// The finding of a check that names a database which the pack does not have.
pub(crate) fn no_database(name: &str) -> Outcome {
    Outcome::skip(format!("the pack names no database `{name}`, or its variable is not set"))
}

/// A finding for something that a pack names and that cannot be used.
pub(crate) fn unusable(what: &str, why: &str) -> Finding {
    Finding::error("pack.unusable", format!("{what} cannot be used: {why}")).at(what)
}
