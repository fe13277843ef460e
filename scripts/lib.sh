# Shared by the scripts beside it; sourced, not run.

# What people see of a script's own work goes to stderr, so that stdout stays the tools'.
say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
if [ ! -t 2 ] || [ -n "${NO_COLOR:-}" ]; then say() { printf '==> %s\n' "$*" >&2; }; fi

# The crates that plain Rust can build and test; the two bindings are built by their own tools.
WORKSPACE=(--workspace --exclude levqor-python --exclude levqor-node)
# Every feature at once: the tests need them all, and one feature set means that the tree is built once.
FEATURES=(--all-features)

need_cargo() {
    command -v cargo >/dev/null && return
    echo "error: cargo is not on the PATH; install Rust (https://rustup.rs) and try again" >&2
    exit 1
}
