#!/usr/bin/env bash
# Builds the Python wheel, installs it into an environment of its own and runs its tests. `scripts/test-python.sh [NAME...]`.
#
# The environment is kept beside what cargo builds, and made anew when its list of packages changes.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
need_cargo

PACKAGES=("maturin>=1.16,<2" "pytest>=8" "mypy>=1.15" "flask>=3" "fastapi>=0.115" "httpx" "gunicorn>=23" "typing_extensions")
TARGET=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
VENV="$TARGET/python-env"
WHEELS="$TARGET/python-wheels"
LIST="${PACKAGES[*]}"

if [ "$(cat "$VENV/packages" 2>/dev/null)" != "$LIST" ]; then
    say "python: an environment for the tests"
    rm -rf "$VENV"
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check "${PACKAGES[@]}"
    echo "$LIST" >"$VENV/packages"
fi

say "python: the wheel"
rm -rf "$WHEELS"
"$VENV/bin/maturin" build --quiet --strip --profile dev --manifest-path bindings-python/Cargo.toml --out "$WHEELS" --interpreter "$VENV/bin/python"
"$VENV/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$WHEELS"/*.whl

say "python: tests"
PICK=()
if [ $# -gt 0 ]; then
    PICK=(-k "$(printf '%s or ' "$@" | sed 's/ or $//')")
fi
status=0
(cd bindings-python && "$VENV/bin/python" -m pytest -p no:cacheprovider "${PICK[@]}" tests) || status=$?
# Nothing picked is no failure: the names may have been those of tests in Rust.
if [ "$status" = 5 ] && [ $# -gt 0 ]; then status=0; fi
exit "$status"
