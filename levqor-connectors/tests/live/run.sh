#!/bin/sh
# Runs tests/live.rs against servers that keep state, as vendors do: localstripe, moto (S3), aiosmtpd. They are
# installed into a virtual environment and listen on this machine only.
set -eu
cd "$(dirname "$0")/../../.."
work="${LEVQOR_LIVE:-$(mktemp -d)}"
python="$work/v/bin/python"
if [ ! -x "$python" ]; then
    python3 -m venv "$work/v"
    "$work/v/bin/pip" install -q localstripe 'moto[s3,server]' aiosmtpd
fi
"$python" -m localstripe --port 8420 --from-scratch >"$work/stripe.log" 2>&1 &
stripe=$!
"$work/v/bin/moto_server" -H 127.0.0.1 -p 8421 >"$work/moto.log" 2>&1 &
moto=$!
"$python" -m aiosmtpd -n -l 127.0.0.1:8422 -c aiosmtpd.handlers.Mailbox "$work/mail" >"$work/smtp.log" 2>&1 &
smtp=$!
trap 'kill $stripe $moto $smtp 2>/dev/null || true' EXIT
for port in 8420 8421 8422; do
    "$python" - "$port" <<'PY'
import socket, sys, time
for _ in range(300):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit(f"nothing listens on port {sys.argv[1]}")
PY
done
LEVQOR_LOCALSTRIPE=http://127.0.0.1:8420 LEVQOR_MOTO=http://127.0.0.1:8421 LEVQOR_SMTP=8422 LEVQOR_MAILBOX="$work/mail" \
    cargo test -p levqor-connectors --all-features --test live -- --nocapture
