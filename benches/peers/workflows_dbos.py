"""DBOS: a durable workflow of three steps that do nothing, on Postgres or on SQLite (the argument).

Prints how many workflows end per second when 16 threads run them, and how long one takes when it is alone.
"""

import os
import sys
import tempfile
import threading
import time

from dbos import DBOS
from figures import FOLDER, POSTGRES, SECONDS, figure, quantile

store = sys.argv[1]
if store == "postgres":
    url = POSTGRES.replace("postgres://", "postgresql://", 1)
else:
    url = f"sqlite:///{os.path.join(tempfile.mkdtemp(dir=FOLDER), 'dbos.db')}"
label = {"postgres": "Postgres", "sqlite": "SQLite"}[store]

DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})


@DBOS.step()
def step(n):
    return n + 1


@DBOS.workflow()
def three(n):
    return step(step(step(n)))


def say(name, value, unit):
    figure("workflows", "DBOS", "dbos", f"{name}, {label}", value, unit)


def main():
    DBOS.launch()
    for n in range(5):
        three(n)

    times = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(times) < 20:
        start = time.perf_counter()
        assert three(0) == 3
        times.append(time.perf_counter() - start)
    say("latency of one, p50", quantile(times, 0.5) * 1e3, "ms")

    done = []
    start = time.monotonic()

    def caller():
        while time.monotonic() < start + SECONDS:
            assert three(0) == 3
            done.append(1)

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say("three steps", len(done) / (time.monotonic() - start), "workflows/s")


if __name__ == "__main__":
    main()
    os._exit(0)
