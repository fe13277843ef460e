#!/usr/bin/env bash
# Formatting, clippy, docs and dependency rules. Any warning fails.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
need_cargo

say "formatting (make fmt repairs it)"
cargo fmt --all --check

say "clippy, every crate, feature and target"
cargo clippy --quiet --workspace "${FEATURES[@]}" --all-targets -- -D warnings

say "clippy, the smallest build"
cargo clippy --quiet --package levqor-core --no-default-features -- -D warnings

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet "${WORKSPACE[@]}" "${FEATURES[@]}" --no-deps

say "dependencies"
# One TLS and crypto provider: two in one process panic at the first handshake.
for banned in ring openssl-sys native-tls; do
    if cargo tree --quiet "${WORKSPACE[@]}" "${FEATURES[@]}" --edges normal,build --invert "$banned" 2>/dev/null | grep -q .; then
        echo "error: $banned came into the dependency tree:" >&2
        cargo tree "${WORKSPACE[@]}" "${FEATURES[@]}" --edges normal,build --invert "$banned" >&2
        exit 1
    fi
done
if command -v cargo-deny >/dev/null; then
    # Advisories need a database from the network, so they are a check of their own: cargo deny check advisories
    cargo deny --log-level error --all-features check bans licenses sources
else
    echo "    cargo-deny is not installed; licences were not checked (cargo install cargo-deny)" >&2
fi
say "clean"
