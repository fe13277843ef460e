#!/usr/bin/env bash
# pgbench.sh PEER: credits by what Postgres itself does, driven by pgbench with 64 clients and prepared statements.
# PEER is `function` (one stored function that does all) or `pgledger`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
sql() { psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 "$PEER_POSTGRES" "$@" >/dev/null; }
script=$(mktemp)
trap 'rm -f "$script"' EXIT
[ "$(psql --no-psqlrc -At "$PEER_POSTGRES" -c 'SHOW synchronous_commit')" = on ]

case $1 in
function)
    peer="pgbench, one stored function"
    version=$(pgbench --version | grep -o '[0-9][0-9.]*' | head -n 1)
    PGOPTIONS='-c client_min_messages=warning' sql --file="$here/credits_pgbench.sql"
    call() { echo "\\set a random(1, $1)"; echo '\set k random(1, 9000000000000000000)'; echo "SELECT spend(:a, 1, 'k' || :k);"; }
    ;;
pgledger)
    peer=pgledger
    version=$(cut -d ' ' -f 2 "$here/pgledger.pin" | cut -c 1-12)
    vendor=$PEER_PGLEDGER/vendor/scoville-pgsql-ulid
    sql --single-transaction --file="$vendor/ulid-to-uuid.sql" --file="$vendor/uuid-to-ulid.sql" --file="$PEER_PGLEDGER/pgledger.sql" \
        --file="$here/credits_pgledger.sql"
    # To one of a hundred accounts, so that the other side is not what all wait for.
    call() {
        echo "\\set a random(1, $1)"
        echo '\set r random(10001, 10100)'
        echo 'SELECT t.id FROM bench_account a, bench_account r, pgledger_create_transfer(a.id, r.id, 1) t WHERE a.n = :a AND r.n = :r;'
    }
    ;;
esac

for accounts in 1 10000; do
    name="one hot account"
    [ $accounts = 1 ] || name="10,000 accounts"
    call $accounts >"$script"
    out=$(pgbench --no-vacuum --protocol=prepared --client=64 --jobs=2 --time="${PEER_SECONDS%.*}" --file="$script" "$PEER_POSTGRES" 2>&1) ||
        { echo "$out" >&2; exit 1; }
    rate=$(echo "$out" | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
    printf '{"section":"credits","peer":"%s","version":"%s","name":"spend, %s","value":%s,"unit":"ops/s"}\n' \
        "$peer" "$version" "$name" "$rate"
done
