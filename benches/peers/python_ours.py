"""Figures of the Python package, one JSON line each. Install the wheel of a release build first.

`python benches/peers/python_ours.py [NAME...]` measures the figures whose names contain NAME. Times are the best of several rounds,
in microseconds, unless the unit says otherwise.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable

from levqor import Levqor

ROUNDS = 7


def say(name: str, value: float, unit: str = "us") -> None:
    print(json.dumps({"name": name, "value": round(value, 4), "unit": unit}), flush=True)


def best(work: Callable[[], Any], calls: int) -> float:
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        rounds.append((time.perf_counter() - start) / calls * 1e6)
    return min(rounds)


def limiter() -> None:
    for place, url in (("memory", "memory://"), ("shm", f"sqlite://{tempfile.mkdtemp()}/x.db?limits=shm")):
        take = Levqor(url).limiter("runs", "1000000000/minute").take
        empty = best(lambda: [None for _ in hot], len(hot))
        say(f"limiter {place}, hot key", best(lambda: [take("user-17") for _ in hot], len(hot)) - empty)
        say(f"limiter {place}, 100,000 keys", best(lambda: [take(key) for key in keys], len(keys)) - empty)


hot = range(200_000)
keys = [f"user-{n * 7919 % 100_000}" for n in range(100_000)]


def asyncio_calls() -> None:
    stored = Levqor(f"sqlite://{tempfile.mkdtemp()}/x.db")
    stored.credits.grant("acme", 1)
    ready = Levqor("memory://").limiter("runs", "1000000000/minute")

    async def at_once() -> None:
        for _ in range(20_000):
            await ready.atake("k")

    async def one_by_one() -> None:
        for _ in range(1_000):
            await stored.credits.abalance("acme")

    async def together() -> None:
        for _ in range(20):
            await asyncio.gather(*[stored.credits.abalance("acme") for _ in range(100)])

    say("asyncio, ready", best(lambda: asyncio.run(at_once()), 20_000))
    say("asyncio, one after another (a read of SQLite)", best(lambda: asyncio.run(one_by_one()), 1_000))
    say("asyncio, gather of 100 (reads of SQLite)", best(lambda: asyncio.run(together()), 2_000))
    say("blocking (a read of SQLite)", best(lambda: [stored.credits.balance("acme") for _ in range(1_000)], 1_000))


def flask_request() -> None:
    from flask import Flask

    from levqor.flask import Levqor as Extension

    def per_request(app: Any, headers: dict[str, str]) -> float:
        environ = app.test_request_context("/run", method="GET", headers=headers).request.environ

        def one() -> None:
            for _ in range(2_000):
                for part in app.wsgi_app(dict(environ), lambda *_: None):
                    assert part

        return best(one, 2_000)

    def view() -> str:
        return "ok"

    bare = Flask("bare")
    bare.get("/run")(view)
    base = per_request(bare, {})
    say("flask, bare request", base)

    ours, lq = Flask("ours"), Extension()
    ours.config["LEVQOR_URL"] = "memory://"
    lq.init_app(ours)
    ours.get("/run")(lq.require_key(lq.limit("1000000000/minute", by="key", name="runs")(view)))
    with ours.app_context():
        text = lq.keys.create("bench").text
    say("flask, added by limit, key and headers", per_request(ours, {"Authorization": f"Bearer {text}"}) - base)

    try:
        from flask_limiter import Limiter
        from flask_talisman import Talisman
    except ImportError:
        return
    theirs = Flask("theirs")
    theirs.get("/run")(Limiter(lambda: "k", app=theirs, headers_enabled=True, storage_uri="memory://").limit("1000000000/minute")(view))
    say("flask, added by Flask-Limiter", per_request(theirs, {}) - base)
    both = Flask("both")
    both.get("/run")(Limiter(lambda: "k", app=both, headers_enabled=True, storage_uri="memory://").limit("1000000000/minute")(view))
    Talisman(both, force_https=False)
    say("flask, added by Flask-Limiter and Talisman", per_request(both, {}) - base)


def size() -> None:
    def startup(code: str) -> float:
        times = []
        for _ in range(15):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        return min(times) * 1e3

    say("import", startup("import levqor") - startup("pass"), "ms")
    from levqor import _native

    say("compiled half, as installed", os.path.getsize(_native.__file__) / 1e6, "MB")


if __name__ == "__main__":
    for figure in (limiter, asyncio_calls, flask_request, size):
        if not sys.argv[1:] or any(name in figure.__name__ for name in sys.argv[1:]):
            figure()
