//! Webhooks of others: whether a message is from whom it says, is fresh, and what event it tells of.
//!
//! Every vendor's signature is one [`Scheme`] of the same few parts, so that a vendor that is not known here is
//! a matter of configuration. All is pure: a [`Verifier`] takes headers, body and the time.
//!
//! ```
//! use levqor_core::access::webhook::{Preset, Verifier};
//! use levqor_core::types::Millis;
//!
//! let stripe = Verifier::preset(Preset::Stripe, &["whsec_test_secret"]).unwrap();
//! let now = Millis::secs(1_614_265_330);
//! let body = br#"{"id":"evt_1","type":"invoice.paid","created":1614265330,"data":{"object":{"paid":true}}}"#;
//! let headers = stripe.sign("evt_1", now, body).unwrap();
//! let event = stripe.verify(&headers, body, now).unwrap();
//! assert_eq!((event.id.as_str(), event.kind.as_str(), &event.data["paid"]), ("evt_1", "invoice.paid", &true.into()));
//! ```

mod config;
mod event;
mod scheme;
mod verify;

pub use event::Event;
pub use scheme::{Algorithm, Encoding, EventPaths, Pairs, Preset, Scheme, SecretForm};
pub use verify::{KEEP, TOLERANCE, Verifier};
