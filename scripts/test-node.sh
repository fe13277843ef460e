#!/usr/bin/env bash
# The tests of the Node.js package: builds it (debug) and runs node --test. Called by test.sh; takes NAMEs like it.
set -euo pipefail
cd "$(dirname "$0")/../bindings-node"
for tool in node npm cargo; do
    command -v "$tool" >/dev/null || { echo "error: $tool is not on the PATH" >&2; exit 1; }
done
# Installed again only when the lock file is another one.
if [ ! -d node_modules ] || ! cmp -s package-lock.json node_modules/.levqor-lock; then
    npm ci --no-audit --no-fund --ignore-scripts
    cp package-lock.json node_modules/.levqor-lock
fi
node scripts/build.mjs
names=()
if [ $# -gt 0 ]; then names=(--test-name-pattern "$(IFS='|'; echo "$*")"); fi
# With a last line that test.sh can count.
node --test --test-reporter tap "${names[@]}" test/ | awk '
    { print }
    /^# pass / { passed = $3 }
    /^# (fail|cancelled) / { failed += $3 }
    END { printf "test result: node. %d passed; %d failed\n", passed, failed }'
