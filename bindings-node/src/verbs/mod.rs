//! The engine's verbs, one line each: name, parameters, the call.
//!
//! Arguments come as one JSON object; a parameter of the type `Option`, or with a default, may be left out. Names
//! and parameters are read out by a test that compares them with the TypeScript side.

mod access;
mod args;
mod credits;
mod integrity;
mod jobs;
mod limits;
mod runs;

use std::sync::Arc;

use levqor::error::{Error, Result};

use crate::engine::{Opening, Scene};
use crate::port::{Port, Work};
pub(crate) use args::{Amount, Args, At, Span, Until};

/// What a verb works on.
pub(crate) struct Here {
    pub(crate) scene: Scene,
    /// The thread that asked.
    #[allow(dead_code, reason = "most verbs do not care who asks")]
    pub(crate) port: Arc<Port>,
}

impl std::ops::Deref for Here {
    type Target = Scene;
    fn deref(&self) -> &Scene {
        &self.scene
    }
}

/// One verb.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    /// Its parameters as they stand in the table.
    #[allow(dead_code, reason = "read by the listing")]
    pub(crate) params: &'static [&'static str],
    run: fn(Here, Args) -> Work,
}

/// `$here; room.verb(name: Type = default, ...) => answer;` …
macro_rules! verbs {
    ($here:ident; $($room:ident.$verb:ident($($p:ident: $t:ty $(= $d:expr)?),* $(,)?) => $body:expr;)*) => {
        pub(super) const TABLE: &[$crate::verbs::Verb] = &[$($crate::verbs::Verb {
            name: concat!(stringify!($room), ".", stringify!($verb)),
            params: &[$(stringify!($p)),*],
            #[allow(unused_mut, unused_variables)]
            run: |$here: $crate::verbs::Here, mut args: $crate::verbs::Args| Box::pin(async move {
                $(let $p: $t = $crate::verbs::args::arg!(args, $p: $t $(= $d)?);)*
                args.none_left()?;
                $crate::error::text(&$body)
            }),
        },)*];
    };
}

pub(crate) use verbs;

/// Every verb.
pub(crate) fn all() -> impl Iterator<Item = &'static Verb> {
    let tables = [
        credits::TABLE,
        runs::TABLE,
        jobs::TABLE,
        limits::TABLE,
        access::TABLE,
        integrity::TABLE,
    ];
    tables.into_iter().flatten()
}

/// Begins a verb: the engine is opened first if need be.
pub(crate) fn begin(opening: Opening, port: Arc<Port>, verb: u32, args: &str) -> Result<Work> {
    let found = usize::try_from(verb).ok().and_then(|n| all().nth(n));
    let verb = found.ok_or_else(|| Error::invalid("verb.unknown", "there is no such verb"))?;
    let args = Args::read(args)?;
    if let Some(scene) = opening.now() {
        return Ok((verb.run)(Here { scene: scene?, port }, args));
    }
    Ok(Box::pin(async move {
        let scene = opening.open().await?;
        (verb.run)(Here { scene, port }, args).await
    }))
}
