# Private PostgreSQL and Redis for one run of the tests; sourced by test.sh.
#
# services_start   finds (or, as root on Debian and Ubuntu, installs) the servers, starts them on free
#                  ports of 127.0.0.1 with all their files in $SCRATCH, and exports
#                  LEVQOR_TEST_POSTGRES_URL and LEVQOR_TEST_REDIS_URL. A URL that is set already is used as it is.
# services_stop    stops what was started. Safe to call twice.

PG_DATA="" PG_BIN="" PG_AS=() REDIS_PID="" MADE_POLICY=""

pg_bin() {
    local dir
    for dir in $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -rV); do
        if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then echo "$dir"; return; fi
    done
    if command -v initdb >/dev/null && command -v postgres >/dev/null; then dirname "$(command -v initdb)"; fi
}

services_install() {
    local missing=()
    [ -n "$(pg_bin)" ] || missing+=(postgresql)
    command -v redis-server >/dev/null || missing+=(redis-server)
    [ ${#missing[@]} -gt 0 ] || return 0

    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        {
            echo "error: the tests need servers that are not on this machine: ${missing[*]}"
            echo "  Debian, Ubuntu:  sudo apt-get install ${missing[*]}"
            echo "  elsewhere:       install PostgreSQL 13 or newer and Redis 6.2 or newer, with initdb, postgres and"
            echo "                   redis-server on the PATH"
            echo "  They are started privately, on free ports with temporary files; nothing has to run beforehand."
        } >&2
        exit 1
    fi

    say "installing ${missing[*]}"
    # The packages start their servers on the default ports; this file is how Debian is told not to.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        MADE_POLICY=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$MADE_POLICY"
        chmod 755 "$MADE_POLICY"
    fi
    local log="$SCRATCH/apt.log"
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        echo "error: apt-get could not install: ${missing[*]}" >&2
        exit 1
    fi
    # Nor shall they start at the next boot.
    if [ -d /run/systemd/system ]; then systemctl --quiet disable "${missing[@]}" || true; fi
    services_forget_policy
}

services_forget_policy() {
    [ -z "$MADE_POLICY" ] || rm -f "$MADE_POLICY"
    MADE_POLICY=""
}

# A port that nobody listens on at this moment.
free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
    done
    echo "error: no free port on 127.0.0.1" >&2
    return 1
}

postgres_start() {
    PG_BIN=$(pg_bin)
    local home="$SCRATCH/postgres" log port user
    mkdir "$home"
    log="$home/log"
    if [ "$(id -u)" = 0 ]; then
        # The server refuses to run as root.
        user=nobody
        if id postgres >/dev/null 2>&1; then user=postgres; fi
        chown "$user" "$home"
        chmod 711 "$SCRATCH"
        PG_AS=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups --)
    fi
    # Trust is for this machine's own loopback and the socket in our folder; the server hears nothing else.
    (cd / && "${PG_AS[@]}" "$PG_BIN/initdb" --pgdata="$home/data" --username=levqor --auth=trust --encoding=UTF8 --locale=C --no-sync) >"$SCRATCH/initdb.log" 2>&1 ||
        { cat "$SCRATCH/initdb.log" >&2; echo "error: initdb failed" >&2; exit 1; }
    # fsync stays on: what is tested is what runs.
    "${PG_AS[@]}" tee -a "$home/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$home'
max_connections = 200
shared_buffers = 32MB
max_wal_size = 256MB
fsync = on
autovacuum_naptime = 10s
log_min_messages = warning
CONF
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        if (cd / && "${PG_AS[@]}" "$PG_BIN/pg_ctl" start --wait --timeout=60 --pgdata="$home/data" --log="$log" --options="-p $port") >/dev/null 2>&1; then
            PG_DATA="$home/data"
            "$PG_BIN/createdb" --host=127.0.0.1 --port="$port" --username=levqor levqor
            export LEVQOR_TEST_POSTGRES_URL="postgres://levqor@127.0.0.1:$port/levqor"
            return
        fi
    done
    tail -n 20 "$log" >&2
    echo "error: PostgreSQL ($PG_BIN) did not start" >&2
    exit 1
}

redis_start() {
    local home="$SCRATCH/redis" port
    mkdir "$home"
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        setsid redis-server --bind 127.0.0.1 --port "$port" --dir "$home" --save '' --appendonly no --logfile "$home/log" >/dev/null 2>&1 </dev/null &
        REDIS_PID=$!
        for _ in $(seq 100); do
            kill -0 "$REDIS_PID" 2>/dev/null || break
            if redis_answers "$port"; then
                export LEVQOR_TEST_REDIS_URL="redis://127.0.0.1:$port/"
                return
            fi
            sleep 0.05
        done
        kill "$REDIS_PID" 2>/dev/null || true
    done
    tail -n 20 "$home/log" >&2
    echo "error: redis-server did not start" >&2
    exit 1
}

redis_answers() {
    local answer=""
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'PING\r\n' >&3
    read -r -t 1 answer <&3 || true
    exec 3>&-
    [ "${answer%$'\r'}" = "+PONG" ]
}

services_start() {
    services_install
    if [ -z "${LEVQOR_TEST_POSTGRES_URL:-}" ]; then postgres_start; fi
    if [ -z "${LEVQOR_TEST_REDIS_URL:-}" ]; then redis_start; fi
    say "PostgreSQL at $LEVQOR_TEST_POSTGRES_URL, Redis at $LEVQOR_TEST_REDIS_URL"
}

services_stop() {
    services_forget_policy
    if [ -n "$REDIS_PID" ]; then kill "$REDIS_PID" 2>/dev/null || true; fi
    REDIS_PID=""
    if [ -n "$PG_DATA" ]; then
        (cd / && "${PG_AS[@]}" "$PG_BIN/pg_ctl" stop --mode=immediate --wait --pgdata="$PG_DATA") >/dev/null 2>&1 || true
    fi
    PG_DATA=""
}
