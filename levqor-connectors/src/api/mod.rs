//! What the vendors' connectors share: a vendor as data, its actions as a table, one way to send.
//!
//! A connector's file holds a [`Vendor`], the types of inputs and outputs, and a table of [`Call`]s. Everything
//! that a call does with the network goes through [`Session::send`].

pub(crate) mod auth;
mod call;
pub(crate) mod content;
pub(crate) mod fault;
pub(crate) mod hook;
pub(crate) mod oauth;
mod page;
pub(crate) mod request;
mod session;

pub(crate) use auth::Auth;
pub(crate) use call::{Call, Shape, call};
pub(crate) use fault::{Class, Faults, Wait};
pub(crate) use page::{Next, Pages};
pub(crate) use request::{Ask, Part, Style};
pub(crate) use session::Session;

use async_trait::async_trait;
use levqor_core::connector::{AuthKind, Budget, Connector, Cx, Manifest, Output, Setting, Triggers};
use levqor_core::error::{Error, Result};
use levqor_core::types::Millis;
use serde_json::Value;

use oauth::Tokens;

/// A vendor, as data.
pub(crate) struct Vendor {
    /// The connector's name.
    pub(crate) name: &'static str,
    /// A name for people.
    pub(crate) title: &'static str,
    /// One sentence.
    pub(crate) description: &'static str,
    /// Where the vendor documents its interface.
    pub(crate) docs: &'static str,
    /// Where requests go, unless the connection has a `base_url`.
    pub(crate) base: &'static str,
    /// How requests authenticate; the first way that the connection has the settings for is taken.
    pub(crate) auth: &'static [Auth],
    /// Settings besides `base_url` and those of `auth`, with what they mean.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Headers of every request.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Headers that a setting gives: the setting and the header.
    pub(crate) setting_headers: &'static [(&'static str, &'static str)],
    /// Its limits: so many calls in so long.
    pub(crate) budgets: &'static [(u32, Millis)],
    /// The header that takes the idempotency key of the actions that have one.
    pub(crate) key_header: &'static str,
    /// How bodies and queries are written.
    pub(crate) style: Style,
    /// How it says that something went wrong.
    pub(crate) faults: Faults,
}

impl Vendor {
    /// A vendor without anything special.
    pub(crate) const fn new(name: &'static str, title: &'static str, description: &'static str) -> Self {
        Vendor {
            name,
            title,
            description,
            docs: "",
            base: "",
            auth: &[],
            settings: &[],
            headers: &[],
            setting_headers: &[],
            budgets: &[],
            key_header: "idempotency-key",
            style: Style::JSON,
            faults: Faults::HTTP,
        }
    }

    fn settings(&self) -> Vec<Setting> {
        let mut all: Vec<Setting> = Vec::new();
        let of_auth = self.auth.iter().flat_map(Auth::settings);
        let base = ("base_url", "another address of the interface: a proxy, a region, a stand-in");
        for (name, description) in of_auth.chain(self.settings.iter().copied()).chain([base]) {
            if all.iter().all(|s| s.name != name) {
                all.push(Setting {
                    name: name.into(),
                    description: description.into(),
                });
            }
        }
        all
    }

    fn manifest(&self, calls: &[Call]) -> Manifest {
        let mut auth: Vec<AuthKind> = Vec::new();
        for kind in self.auth.iter().map(Auth::kind) {
            if !auth.contains(&kind) {
                auth.push(kind);
            }
        }
        let budget = |(calls, per): &(u32, Millis)| Budget {
            calls: *calls,
            per: *per,
            key: String::new(),
        };
        Manifest {
            name: self.name.into(),
            title: self.title.into(),
            description: self.description.into(),
            docs: Some(self.docs.into()),
            auth,
            settings: self.settings(),
            budgets: self.budgets.iter().map(budget).collect(),
            triggers: vec![],
            actions: calls.iter().map(|c| c.action.clone()).collect(),
        }
    }
}

/// A vendor's connector: its data, its actions, and the tokens that it renewed.
pub struct Api {
    pub(crate) vendor: &'static Vendor,
    manifest: Manifest,
    calls: Vec<Call>,
    pub(crate) tokens: Tokens,
    pub(crate) hooks: Option<hook::Hooks>,
    pub(crate) polls: Vec<hook::Poll>,
}

impl Api {
    pub(crate) fn new(vendor: &'static Vendor, calls: Vec<Call>) -> Self {
        Api {
            manifest: vendor.manifest(&calls),
            vendor,
            calls,
            tokens: Tokens::default(),
            hooks: None,
            polls: vec![],
        }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Api").field(&self.vendor.name).finish()
    }
}

#[async_trait]
impl Connector for Api {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn call(&self, cx: &Cx, action: &str, input: &Value) -> Result<Output> {
        let Some(call) = self.calls.iter().find(|c| c.action.name == action) else {
            let message = format!("there is no action `{}.{action}`", self.vendor.name);
            return Err(Error::not_found("connector.unknown_action", message));
        };
        call.perform(self, cx, input).await.map(Output::new)
    }

    fn triggers(&self) -> Option<&dyn Triggers> {
        (!self.manifest.triggers.is_empty()).then_some(self)
    }
}

/// Types of inputs. Nothing but the fields may be given.
macro_rules! input {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        #[derive(serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        // Requests are shaped from the JSON itself; the type says what it may hold, by the vendor's own names.
        #[allow(dead_code, clippy::struct_field_names)]
        pub(crate) struct $name { $($(#[$field_meta])* pub(crate) $field: $type),* }
    )*};
}

/// Types of outputs: what a run gets to see of an answer. What else the vendor sends is left out.
macro_rules! output {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        #[derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        #[allow(clippy::struct_field_names)] // They are the vendor's.
        $(#[$meta])*
        pub(crate) struct $name { $($(#[$field_meta])* pub(crate) $field: $type),* }
    )*};
}

pub(crate) use {input, output};

output! {
    /// That it was done, where the vendor says nothing else.
    Done {
        /// The status of the answer.
        status: u16,
    }
}

/// An object whose fields depend on the case.
pub(crate) type Object = serde_json::Map<String, Value>;
