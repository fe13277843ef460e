#!/usr/bin/env bash
# bootstrap.sh python|node|pgledger FOLDER: installs the pinned peers of a kind into FOLDER/KIND, once.
# Nothing is installed anywhere else. Ends with an error, and says why on standard error, where it cannot.
set -euo pipefail
kind=$1 to=$2/$1
here=$(cd "$(dirname "$0")" && pwd)

# done_before FILE: whether what FILE pins is there already.
done_before() { [ -e "$to/.pinned" ] && cmp -s "$1" "$to/.pinned"; }

case $kind in
python)
    pins=$here/requirements.txt
    done_before "$pins" && exit
    command -v python3 >/dev/null || { echo "python3 is not on the PATH" >&2; exit 1; }
    rm -rf "$to"
    python3 -m venv "$to"
    "$to/bin/pip" install --quiet --disable-pip-version-check --requirement "$pins" >&2
    ;;
node)
    pins=$here/package.json
    done_before "$pins" && exit
    command -v npm >/dev/null || { echo "npm is not on the PATH" >&2; exit 1; }
    rm -rf "$to"
    mkdir -p "$to"
    cp "$pins" "$to/"
    (cd "$to" && npm install --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error) >&2
    ;;
pgledger)
    # Plain SQL in a public repository. LEVQOR_BENCH_PGLEDGER names a clone; otherwise one is made.
    pins=$here/pgledger.pin
    done_before "$pins" && exit
    read -r repository commit <"$pins"
    rm -rf "$to"
    git clone --quiet "${LEVQOR_BENCH_PGLEDGER:-$repository}" "$to" >&2
    git -C "$to" checkout --quiet "$commit" >&2
    ;;
*)
    echo "there is no kind of peer called $kind" >&2
    exit 2
    ;;
esac
cp "$pins" "$to/.pinned"
