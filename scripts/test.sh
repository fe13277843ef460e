#!/usr/bin/env bash
# Every test, with private databases. `scripts/test.sh [NAME...]` runs the tests whose names contain NAME.
#
# The last line is always `N passed, N failed`, over all runners. The exit code is not zero if a test failed,
# a runner broke, a service is missing or no test ran at all.
#
# Environment: LEVQOR_TEST_POSTGRES_URL, LEVQOR_TEST_REDIS_URL  use these servers instead of private ones
#              LEVQOR_SOAK_KILLS                               how often the crash tests kill their worker
#              LEVQOR_SOAK_CRON=1                              compare 100,000 new cron cases with Python's croniter
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/services.sh

SOAK=""
if [ "${1:-}" = --soak ]; then
    SOAK=yes
    shift
fi
NAMES=("$@")

SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/levqor-test.XXXXXX")
CHILD="" PASSED=0 FAILED=0 DONE=""

finish() {
    local status=$?
    trap - EXIT INT TERM HUP
    # A runner is a process group of its own, so that it goes with all that it started.
    if [ -n "$CHILD" ]; then
        kill -TERM -- "-$CHILD" 2>/dev/null || true
        wait "$CHILD" 2>/dev/null || true
    fi
    services_stop
    rm -rf "$SCRATCH"
    if [ -z "$DONE" ]; then FAILED=$((FAILED + 1)); fi
    if [ $((PASSED + FAILED)) = 0 ]; then
        echo "error: no test ran" >&2
        status=1
    fi
    if [ "$FAILED" -gt 0 ] && [ "$status" = 0 ]; then status=1; fi
    echo "$PASSED passed, $FAILED failed"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# run LABEL COMMAND...: shows the command's output and adds its summaries to the counts.
run() {
    local label=$1 log status=0 passed failed
    shift
    log="$SCRATCH/$label.log"
    say "$label"
    # With setsid the child leads a group of its own; waiting in the background lets traps run at once.
    setsid bash -c '"${@:2}" 2>&1 | tee "$1"; exit "${PIPESTATUS[0]}"' run "$log" "$@" &
    CHILD=$!
    wait "$CHILD" || status=$?
    CHILD=""
    read -r passed failed < <(awk -f scripts/count.awk "$log")
    # A runner that broke without counting a failure (a crate that does not compile, say) is one failure.
    if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
}

run_rust() {
    local scope=("${WORKSPACE[@]}" "${FEATURES[@]}")
    if [ -n "$SOAK" ]; then
        # The crash tests alone, optimised, with as many kills as were asked for.
        run rust-soak cargo test --release "${scope[@]}" kill "${NAMES[@]}"
        return
    fi
    if cargo nextest --version >/dev/null 2>&1; then
        run rust cargo nextest run --no-fail-fast --no-tests=pass "${scope[@]}" "${NAMES[@]}"
    else
        run rust cargo test --no-fail-fast --lib --bins --tests "${scope[@]}" -- "${NAMES[@]}"
    fi
    run rust-examples-in-docs cargo test --no-fail-fast --doc "${scope[@]}" -- "${NAMES[@]}"
}

# The wheel in an environment of its own, beside what cargo builds, and its tests. NAMEs pick tests there too.
run_python() {
    if [ -n "$SOAK" ]; then return; fi
    if ! command -v python3 >/dev/null; then
        echo "error: python3 is missing, so the Python package cannot be tested" >&2
        FAILED=$((FAILED + 1))
        return
    fi
    run python scripts/test-python.sh "${NAMES[@]}"
}

need_cargo
services_start
# One function per language; each calls `run`.
run_rust
run_python
if [ -z "$SOAK" ]; then run node scripts/test-node.sh "${NAMES[@]}"; fi
DONE=yes
