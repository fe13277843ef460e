//! Every behaviour on every store of this build.

#![cfg(feature = "testkit")]

mod memory {
    levqor_core::conformance!(levqor_core::testkit::stores::memory);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    levqor_core::conformance!(levqor_core::testkit::stores::sqlite);
}

#[cfg(feature = "postgres")]
mod postgres {
    levqor_core::conformance!(levqor_core::testkit::stores::postgres);
}
