"""What a forked child must not share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import levqor
from levqor import Levqor



def in_child(work: Any, deadline: float = 30.0) -> str:
    """What `work` gives back in a forked child; fails if it hangs or dies."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            os.write(writer, str(work()).encode())
            status = 0
        except BaseException as e:
            os.write(writer, repr(e).encode())
        finally:
            os._exit(status)
    os.close(writer)
    said = b""
    end = time.monotonic() + deadline
    os.set_blocking(reader, False)
    while time.monotonic() < end:
        try:
            part = os.read(reader, 1 << 20)
        except BlockingIOError:
            time.sleep(0.001)
            continue
        if not part:
            break
        said += part
    else:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise AssertionError("the child hung")
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    assert status == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("query", ["", "?limits=shm", "?limits=memory"])
def test_an_engine_that_was_used_before_a_fork_works_on_both_sides(tmp_path: Path, query: str) -> None:
    lq = Levqor(f"sqlite://{tmp_path}/x.db{query}")
    lq.credits.grant("acme", 1000)
    lim = lq.limiter("runs", "1000/hour")
    lim.take("k")
    for n in range(5):
        seen = in_child(lambda: (lq.credits.spend("acme", 1).remaining, lim.take("k").admitted))
        assert seen == f"(Decimal('{998 - 2 * n}'), True)" or seen == f"(Decimal('{999 - 2 * n}'), True)"
        lq.credits.spend("acme", 1)
    assert lq.credits.balance("acme").posted == 990 and not lq.credits.audit().violations


def test_limits_in_shared_memory_are_exact_over_processes(tmp_path: Path) -> None:
    lq = Levqor(f"sqlite://{tmp_path}/x.db?limits=shm")
    lim = lq.limiter("runs", "100/hour")
    assert lim.take("k")
    taken = [int(in_child(lambda: sum(bool(lim.take("k")) for _ in range(60)))) for _ in range(3)]
    assert 1 + sum(taken) == 100


def test_500_forks_give_no_equal_ids_and_never_hang(tmp_path: Path) -> None:
    lq = Levqor("memory://")
    made = [lq.credits.grant("acme", 1).id for _ in range(50)]
    for _ in range(500):
        made += in_child(lambda: " ".join(lq.credits.grant("acme", 1).id for _ in range(20))).split()
    assert len(set(made)) == len(made) == 10_050


def test_threads_at_work_do_not_disturb_a_fork(tmp_path: Path) -> None:
    import threading

    lq = Levqor(f"sqlite://{tmp_path}/x.db")
    lq.credits.grant("acme", 100_000)
    stop = threading.Event()
    faults: list[BaseException] = []

    def spend() -> None:
        while not stop.is_set():
            try:
                lq.credits.spend("acme", 1)
            except BaseException as e:
                faults.append(e)
                return

    threads = [threading.Thread(target=spend) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            in_child(lambda: lq.credits.spend("acme", 1).id)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not faults
    assert not lq.credits.audit().violations


def test_a_worker_goes_on_in_parent_and_child(tmp_path: Path) -> None:
    lq = Levqor(f"sqlite://{tmp_path}/x.db")
    pipeline = {"version": 1, "name": "n", "steps": [{"id": "a", "set": 1}]}
    lq.start(poll=0.05)
    done = in_child(lambda: lq.runs.wait(lq.runs.submit("acme", pipeline).id, 20).state)
    assert done == "done"
    assert lq.runs.wait(lq.runs.submit("acme", pipeline).id, 20).state == "done"
    lq.close()


def test_a_fork_past_python_is_told_apart(tmp_path: Path) -> None:
    """A fork by C code runs none of Python's hooks: the child refuses the file that it inherited open."""
    code = f"""
        import ctypes, os, sys
        sys.path[:0] = {sys.path!r}
        import levqor
        lq = levqor.Levqor("sqlite://{tmp_path}/x.db")
        lq.credits.grant("acme", 1)
        pid = ctypes.PyDLL(None).fork()
        if pid == 0:
            try:
                lq.credits.balance("acme")
                os._exit(3)
            except levqor.errors.ForeignHandle as e:
                os._exit(0 if e.code == "store.inherited_handle" else 4)
        assert lq.credits.balance("acme").posted == 1
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


def test_asyncio_works_in_a_child_again() -> None:
    import asyncio

    lq = Levqor("memory://")
    asyncio.run(_grant(lq))
    assert in_child(lambda: asyncio.run(_grant(lq))) == "1"
    assert levqor._native.generation() == 1


async def _grant(lq: Levqor) -> Any:
    import asyncio

    run = await lq.runs.asubmit("a", {"version": 1, "name": "n", "steps": [{"id": "a", "set": 1}]})
    await asyncio.gather(lq.worker().adrain(), lq.runs.await_(run.id, 10))
    return (await lq.credits.agrant("acme", 1)).posted
