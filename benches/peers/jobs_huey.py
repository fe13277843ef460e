"""huey on SQLite with fsync: jobs that do nothing, taken by workers as huey's consumer takes them (at most once).

Prints how fast jobs are enqueued one by one (there is no other way), how fast eight consumer threads work them
off, both together, and how long a job waits for its start at low load (the consumer polls).
"""

import os
import tempfile
import threading
import time

from figures import COUNT, FOLDER, figure, quantile
from huey import SqliteHuey

path = os.path.join(tempfile.mkdtemp(dir=FOLDER), "huey.db")
huey = SqliteHuey("bench", filename=path, fsync=True, results=False)
started = []
done = threading.Semaphore(0)


@huey.task()
def noop(n):
    done.release()


@huey.task()
def stamp(at):
    started.append(time.perf_counter() - at)
    done.release()


def wait(n):
    for _ in range(n):
        done.acquire()


def main():
    noop(0)
    huey.execute(huey.dequeue())
    wait(1)

    start = time.perf_counter()
    for n in range(COUNT):
        noop(n)
    enqueued = time.perf_counter() - start

    start = time.perf_counter()
    consumer = huey.create_consumer(workers=8, periodic=False, initial_delay=0.001, max_delay=0.01, backoff=1.15)
    consumer.start()
    wait(COUNT)
    worked = time.perf_counter() - start

    for _ in range(100):
        time.sleep(0.005)
        stamp(time.perf_counter())
        wait(1)
    consumer.stop(graceful=True)

    huey_figure = lambda name, value, unit: figure("jobs", "huey", "huey", name, value, unit)
    huey_figure("enqueue one by one, 1 caller, SQLite", COUNT / enqueued, "jobs/s")
    huey_figure("end to end, SQLite", COUNT / (enqueued + worked), "jobs/s")
    huey_figure("enqueue to start p50, SQLite, one process", quantile(started, 0.5) * 1e3, "ms")
    huey_figure("enqueue to start p99, SQLite, one process", quantile(started, 0.99) * 1e3, "ms")


if __name__ == "__main__":
    main()
    # The consumer's threads have nothing left to do.
    os._exit(0)
