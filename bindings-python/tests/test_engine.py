"""The engine from Python: limits, runs, asyncio, logs, connectors and checks of the host's own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from typing import Any

import pytest

import levqor
from levqor import Levqor, LevqorError
from levqor.connectors import Connector, Context
from levqor.testing import Clock

from conftest import HELLO


def test_policies_decide_together_and_explain() -> None:
    lq = Levqor("memory://", limits={"user": "5/minute by user; pro 50/minute", "strict": "1/minute by user; dry-run"})
    told = [bool(lq.limits.take({"user": "ann"})) for _ in range(7)]
    assert told == [True] * 5 + [False] * 2
    refused = lq.limits.take({"user": "ann"})
    assert refused.reason == "exceeded" and refused.violated == ["user"] and refused.shadow[0]["name"] == "strict"
    assert "used up" in refused.explain() and int(refused.headers()["Retry-After"]) >= 1
    with pytest.raises(levqor.RateLimited) as caught:
        refused.admit()
    assert caught.value.status == 429 and caught.value.retry_after and caught.value.headers["Retry-After"]
    assert lq.limits.take({"user": "ann"}, tier="pro").limit == 50
    assert lq.limits.peek({"user": "bob"}, only=["user"]).remaining == 5
    lq.limits.penalty({"user": "bob"}, cost=9, only=["user"])
    assert not lq.limits.peek({"user": "bob"}, only=["user"])
    lq.limits.reward({"user": "bob"}, cost=9, only=["user"])
    lq.limits.block({"user": "bob"}, "10m", only=["user"])
    assert lq.limits.peek({"user": "bob"}, only=["user"]).reason == "blocked"
    lq.limits.reset({"user": "bob"})
    assert lq.limits.peek({"user": "bob"})
    with pytest.raises(levqor.NotFound):
        lq.limits.take({"user": "x"}, only=["usr"])
    assert [p.name for p in lq.limits.policies()] == ["user", "strict"]


def test_lists_exempt_and_shut_out() -> None:
    lq = Levqor("memory://", limits="user: 1/hour by user\nallow user admin\ndeny ip 203.0.113.0/24")
    assert all(lq.limits.take({"user": "admin"}) for _ in range(5))
    assert lq.limits.take({"user": "ann", "ip": "203.0.113.9"}).reason == "denied"


def test_a_prepared_limiter_counts_with_the_policy_of_its_name_and_quota() -> None:
    lq = Levqor("memory://", limits={"user": "5/minute by user"})
    lim = lq.limiter("user", "5/minute")
    assert sum(bool(lim.take("ann")) for _ in range(3)) == 3
    assert sum(bool(lq.limits.take({"user": "ann"})) for _ in range(9)) == 2
    assert lim.take(b"bob", 2).remaining == 3 and not lim.take("bob", cost=4)
    assert lq.limiter("user", "5/minute") is lim
    for bad in (1, None, "\ud800"):
        with pytest.raises(levqor.InvalidInput):
            lim.take(bad)  # type: ignore[arg-type]
    with pytest.raises(levqor.InvalidInput):
        lq.limiter("user", "five a day")


def test_places_in_flight_come_back() -> None:
    lq = Levqor("memory://", limits={"work": "2/30s concurrent by user"})
    first = lq.limits.acquire({"user": "ann"})
    with lq.limits.acquire({"user": "ann"}) as second:
        assert second.decision
        with pytest.raises(levqor.RateLimited):
            lq.limits.acquire({"user": "ann"})
    first.release()
    first.release()
    assert lq.limits.peek({"user": "ann"}).remaining == 2


def test_limits_in_the_store_are_waited_for(stored: Levqor) -> None:
    lim = stored.limiter("runs", "3/hour")
    assert [bool(lim.take("k")) for _ in range(5)] == [True] * 3 + [False] * 2


def test_limits_in_memory_outlive_a_closed_store(tmp_path: Any) -> None:
    lq = Levqor(f"sqlite://{tmp_path}/x.db?limits=memory")
    lim = lq.limiter("runs", "3/hour")
    assert lim.take("k").remaining == 2
    lq.close()
    assert lim.take("k").remaining == 1


def test_a_run_costs_what_it_costs(lq: Levqor) -> None:
    lq.credits.grant("acme", 100)
    run = lq.runs.submit("acme", HELLO, {"name": "Ann"}, idempotency_key="order-1")
    assert lq.runs.submit("acme", HELLO, {"name": "Ann"}, idempotency_key="order-1").replayed
    with pytest.raises(levqor.errors.IdempotencyMismatch):
        lq.runs.submit("acme", HELLO, {"name": "Bob"}, idempotency_key="order-1")
    with lq.worker().start():
        done = lq.runs.wait(run.id, 10)
    assert done.ended and done.result == "hello, Ann" and str(lq.credits.balance("acme").available) == "99"
    with pytest.raises(levqor.Timeout):
        lq.runs.wait(lq.runs.submit("acme", HELLO, {"name": "x"}).id, 0.05)


def test_events_tell_what_happens(lq: Levqor) -> None:
    lq.credits.grant("acme", 100)
    events = lq._events()
    lq.runs.submit("acme", HELLO, {"name": "Ann"})
    lq.worker().drain()
    seen = []
    while event := events.next(0.05):
        seen.append(event["event"])
    assert seen[0] == "started" and seen[-1] == "ended"


def test_dead_letters_are_redriven() -> None:
    calls: list[str] = []
    crm = Connector("crm")

    @crm.action(input={"type": "object", "properties": {"email": {"type": "string"}}, "required": ["email"]}, idempotency="natural")
    def find(cx: Context, email: str) -> dict[str, str]:
        calls.append(email)
        assert cx.settings == {"token": "secret-1"} and len(cx.idempotency_key) == 43
        if len(calls) == 1:
            raise LevqorError("no such customer", code="crm.gone")
        return {"id": "c1"}

    lq = Levqor("memory://", connectors=[crm], connections={"main": {"token": "secret-1"}})
    pipeline = {"version": 1, "name": "p", "steps": [{"id": "find", "action": "crm.find", "connection": "main", "input": {"email": "a@b.c"}}],
                "output": {"$ref": "steps.find.output.id"}}
    run = lq.runs.submit("acme", pipeline)
    lq.worker().drain()
    dead = lq.jobs.dead()
    assert [job.id for job in dead] == [run.id] and dead[0].error["code"] == "crm.gone"
    lq.jobs.redrive(run.id)
    lq.worker().drain()
    assert lq.runs.status(run.id).result == "c1" and calls == ["a@b.c"] * 2


def test_a_connector_in_python_is_validated_metered_and_listed() -> None:
    crm = Connector("crm", description="Customers")

    @crm.action("add", input={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False})
    async def add(cx: Context, n: int) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"n": n + 1}

    lq = Levqor("memory://", connectors=[crm])
    assert lq.connectors.call("crm.add", {"n": 1}).data == {"n": 2}
    assert lq.connectors.run_task({"action": "crm.add", "input": {"n": 2}}) == {"n": 3}
    assert crm.run_task({"action": "add", "input": {"n": 3}}) == {"n": 4}
    for bad in ({"n": "1"}, {}, {"n": 1, "m": 2}):
        with pytest.raises(levqor.InvalidInput):
            lq.connectors.call("crm.add", bad)
    assert "crm" in [m["name"] for m in lq.connectors.manifests()]
    assert any(s.connector == "crm" and s.action == "add" for s in lq.stats()) and "crm" in lq.metrics()
    with pytest.raises(levqor.Conflict):
        lq.connector(Connector("late"))


def test_checks_in_python_are_run_signed_and_verified(tmp_path: Any) -> None:
    lq = Levqor("memory://")
    lq.check("stock.counted")(lambda: "7 items")
    lq.check("stock.sound", title="Stock", requires=["stock.counted"])(lambda context: {
        "summary": "bad", "findings": [{"cause": "stock.negative", "message": "one item is missing", "hint": "count"}], "facts": {"items": 7}})

    @lq.check("stock.broken")
    def broken() -> None:
        raise RuntimeError("cannot tell")

    folder, key = str(tmp_path / "evidence"), str(tmp_path / "key.pem")
    report = lq.integrity.run(evidence=folder, key=key)
    status = {c["id"]: c["status"] for c in report.checks}
    assert status == {"stock.counted": "PASS", "stock.sound": "FAIL", "stock.broken": "ERROR"}
    assert not report.passed and report.evidence and report.evidence["number"] == 1
    with pytest.raises(levqor.Conflict):
        report.raise_if_failed()
    assert lq.integrity.verify(folder).ok
    lq.check("stock.sound")(lambda: True)
    second = lq.integrity.run(evidence=folder, key=key, select=["stock.counted", "stock.sound"])
    assert second.passed and second.evidence and second.evidence["number"] == 2
    changes = lq.integrity.diff(report.evidence["folder"], second.evidence["folder"])
    assert changes["checks"]
    (tmp_path / "evidence" / "run-000001" / "evidence.json").write_bytes(b"{}")
    assert not lq.integrity.verify(folder).ok


def test_asyncio_answers_at_once_or_in_batches(stored: Levqor, lq: Levqor) -> None:
    async def main() -> None:
        lim = lq.limiter("runs", "1000/minute")
        assert (await lim.atake("k")).admitted
        await stored.credits.agrant("acme", 10)
        balances = await asyncio.gather(*[stored.credits.abalance("acme") for _ in range(100)])
        assert {str(b.posted) for b in balances} == {"10"}
        with pytest.raises(levqor.InsufficientCredits):
            await stored.credits.aspend("acme", 11)
        spent = await asyncio.gather(*[stored.credits.aspend("acme", 1) for _ in range(20)], return_exceptions=True)
        assert sum(isinstance(s, levqor.InsufficientCredits) for s in spent) == 10
        async with Levqor("memory://") as other:
            assert (await other.credits.abalance("x")).posted == 0
        waiting = asyncio.ensure_future(lq.runs.await_((await lq.runs.asubmit("a", {"version": 1, "name": "n", "steps": [{"id": "a", "set": 1}]})).id, 30))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    asyncio.run(main2(stored))


async def main2(stored: Levqor) -> None:
    assert (await stored.credits.abalance("acme")).posted == 0


def test_ctrl_c_ends_a_blocking_call(lq: Levqor) -> None:
    run = lq.runs.submit("acme", {"version": 1, "name": "n", "steps": [{"id": "a", "set": 1}]})
    # Whoever started the tests in the background has Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            lq.runs.wait(run.id, 30)
        assert time.monotonic() - start < 5
    finally:
        signal.signal(signal.SIGINT, before)


def test_waiting_lets_other_threads_go_on(lq: Levqor) -> None:
    run = lq.runs.submit("acme", {"version": 1, "name": "n", "steps": [{"id": "a", "set": 1}]})
    ticks = 0

    def count() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    done = threading.Event()
    thread = threading.Thread(target=count)
    thread.start()
    with pytest.raises(levqor.Timeout):
        lq.runs.wait(run.id, 0.3)
    done.set()
    thread.join()
    assert ticks > 20


def test_log_lines_come_through_logging(caplog: Any) -> None:
    crm = Connector("crm")

    @crm.action("down", idempotency="natural")
    def down(cx: Context) -> None:
        raise levqor.Unavailable("away", code="crm.down", retry_after=0.01)

    lq = Levqor("memory://", connectors=[crm])
    call = {"action": "crm.down", "retry": {"max_attempts": 1}}
    pipeline = {"version": 1, "name": "n", "steps": [{"id": "a", **call}], "on_error": [{"id": "b", **call}]}
    for level, heard in ((logging.ERROR, False), (logging.DEBUG, True)):
        with caplog.at_level(level, logger="levqor"):
            caplog.clear()
            levqor._native.refresh_logs()
            lq.runs.submit("acme", pipeline)
            lq.worker().drain()
            levqor._native.flush_logs(5)
            assert any("on_error" in r.message and r.name == "levqor.engine.run" for r in caplog.records) == heard
    levqor._native.refresh_logs()


def test_time_stands_still_for_tests() -> None:
    clock = Clock("2026-03-01T12:00:00Z")
    lq = Levqor("memory://", clock=clock)
    lq.credits.grant("acme", 5, expires="1h")
    lim = lq.limiter("runs", "1/hour")
    assert lim.take("k") and not lim.take("k")
    clock.advance(3601)
    assert lq.credits.balance("acme").available == 0 and lim.take("k")


def test_records_are_swapped_by_version(lq: Levqor) -> None:
    lq.records.put("notes", "a", {"n": 1}, version=0)
    with pytest.raises(levqor.Conflict):
        lq.records.put("notes", "a", {"n": 2}, version=0)
    lq.records.put("notes", "a", {"n": 2}, version=1)
    found = lq.records.get("notes", "a")
    assert found and (found.version, found.body) == (2, {"n": 2})
    lq.records.delete("notes", "a")
    assert lq.records.get("notes", "a") is None and lq.records.list("notes") == []


def test_tenants_see_their_own(lq: Levqor) -> None:
    lq.credits.grant("acme", 5)
    other = lq.tenant("other")
    assert other.credits.balance("acme").posted == 0 and lq.credits.balance("acme").posted == 5
