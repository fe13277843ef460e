#!/usr/bin/env bash
# Judges that are not ours, over the evidence that the tests leave: qpdf and PDFBox Preflight for the PDFs, zbar for the QR code,
# compliance-trestle for OSCAL, a schema for SARIF and for JUnit, prove for TAP, openssl for signatures and time stamps, and
# MDN's HTTP Observatory against headers.security. On demand: it installs what is missing (apt, pip and npm, into a folder of
# its own) and takes a few minutes.
#
#   scripts/judges.sh [FOLDER]     the folder of the tools; a temporary one if it is not named
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/services.sh

SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/levqor-judges.XXXXXX")
TOOLS=${1:-$SCRATCH/tools}
mkdir -p "$TOOLS"
trap 'services_stop; rm -rf "$SCRATCH"' EXIT

need() {
    local missing=() pair
    for pair in "$@"; do
        [ -e "${pair#*=}" ] || command -v "${pair#*=}" >/dev/null || missing+=("${pair%%=*}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >"$SCRATCH/apt.log" 2>&1 </dev/null ||
        { tail -n 20 "$SCRATCH/apt.log" >&2; echo "error: needs ${missing[*]}" >&2; exit 1; }
}

JARS=/usr/share/java
need qpdf=qpdf poppler-utils=pdftoppm zbar-tools=zbarimg libxml2-utils=xmllint openssl=openssl perl=prove \
    libpdfbox2-java=$JARS/pdfbox2.jar libactivation-java=$JARS/javax.activation.jar libjaxb-api-java=$JARS/jaxb-api.jar \
    openjdk-17-jdk-headless=javac

if [ ! -x "$TOOLS/python/bin/trestle" ]; then
    say "installing compliance-trestle and jsonschema"
    python3 -m venv "$TOOLS/python"
    "$TOOLS/python/bin/pip" -q install compliance-trestle jsonschema
fi
if [ ! -d "$TOOLS/node/node_modules/@mdn" ]; then
    say "installing MDN's HTTP Observatory and the SARIF multitool"
    mkdir -p "$TOOLS/node"
    (cd "$TOOLS/node" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund --ignore-scripts \
        @mdn/mdn-http-observatory @microsoft/sarif-multitool-linux)
    # Which sites browsers know beforehand is fetched at installation; the headers are judged without it.
    echo "{}" >"$TOOLS/node/node_modules/@mdn/mdn-http-observatory/conf/hsts-preload.json"
fi

CLASSES=$JARS/pdfbox2.jar:$JARS/preflight.jar:$JARS/xmpbox.jar:$JARS/fontbox2.jar:$JARS/commons-logging.jar
CLASSES=$CLASSES:$JARS/commons-io.jar:$JARS/javax.activation.jar:$JARS/jaxb-api.jar
javac -cp "$CLASSES" -d "$TOOLS" scripts/judges/Preflight.java

services_start
export LEVQOR_JUDGES_PREFLIGHT="java -cp $CLASSES:$TOOLS Preflight"
export LEVQOR_JUDGES_PYTHON="$TOOLS/python/bin/python"
export LEVQOR_JUDGES_TRESTLE="$TOOLS/python/bin/trestle"
export LEVQOR_JUDGES_NODE="$TOOLS/node"
export LEVQOR_JUDGES_SARIF="$TOOLS/node/node_modules/@microsoft/sarif-multitool-linux/sarif-2.1.0.json"
cargo test -p levqor-integrity --all-features --test judges -- --nocapture --test-threads 1
