"""Jobs and workflows in Python, and operations that happen together."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

import levqor
from levqor import Levqor
from levqor.errors import GiveUp
from levqor.handlers import Wf
from levqor.testing import engine


def test_a_step_that_is_done_stays_done(lq: Levqor) -> None:
    calls: list[str] = []

    def note(what: str) -> dict[str, str]:
        calls.append(what)
        return {"id": what}

    @lq.workflow("onboard", queue="runs", max_attempts=3, backoff={"initial": "1ms", "max": "1ms"})
    def onboard(wf: Wf, email: str, hold: str) -> dict[str, Any]:
        user = wf.step("create", note, email)
        if wf.attempt == 1:
            raise RuntimeError("the first attempt fails")
        wf.step("welcome", note, user["id"], timeout="5s")
        wf.credits.settle(hold)
        return {"user": user["id"], "attempt": wf.attempt}

    lq.credits.grant("acme", 100)
    with lq.atomic(idempotency_key="r1") as tx:
        hold = tx.credits.hold("acme", 5)
        job = tx.enqueue(onboard, email="a@b.c", hold=hold, unique_for="10m")
    assert hold.remaining == 95 and job.id.startswith("job_")
    with lq.atomic(idempotency_key="r1") as again:
        hold2 = again.credits.hold("acme", 5)
        job2 = again.enqueue(onboard, email="a@b.c", hold=hold2, unique_for="10m")
    assert again.replayed and (hold2.id, job2.id) == (hold.id, job.id)
    with lq.worker(queues=["runs"], poll=0.01).start():
        done = lq.jobs.wait(job.id, 20)
    assert done.state == "done", done.error
    assert done.result == {"user": "a@b.c", "attempt": 2} and calls == ["a@b.c", "a@b.c"]
    assert lq.credits.balance("acme").posted == 95 and lq.credits.balance("acme").held == 0


def test_a_commit_is_all_or_nothing(lq: Levqor) -> None:
    lq.credits.grant("acme", 3)
    with pytest.raises(levqor.InsufficientCredits) as caught, lq.atomic() as tx:
        tx.enqueue("mail", {"to": "x"})
        tx.credits.spend("acme", 4)
    assert caught.value.details["operation"] == 1 and lq.jobs.list() == []
    with pytest.raises(ZeroDivisionError), lq.atomic() as tx:
        spent = tx.credits.spend("acme", 1)
        1 / 0
    with pytest.raises(levqor.Conflict):
        spent.answer  # noqa: B018
    assert lq.credits.balance("acme").posted == 3


def test_a_function_stays_callable_and_can_be_tested_inline(lq: Levqor) -> None:
    @lq.job
    def double(n: int, more: int = 0) -> int:
        return 2 * n + more

    @lq.job(name="flow")
    def flow(wf: Wf, n: int) -> int:
        return wf.step("a", lambda: n + 1) + wf.step("a", lambda: n + 2)

    @lq.job
    async def soon(wf: Wf) -> str:
        return wf.id[:4]

    assert double(2) == 4 and double.test(2, more=1) == 5 and flow.test(1) == 5 and soon.test() == "job_"
    job = double.enqueue(21)
    lq.worker().drain()
    assert lq.jobs.get(job.id).result == 42
    assert lq.handlers() == ["double", "flow", "soon"]
    for args, kwargs in [((), {}), ((1, 2, 3), {}), ((1,), {"n": 1}), ((1,), {"colour": "red"})]:
        with pytest.raises(TypeError):
            double.enqueue(*args, **kwargs)
    with pytest.raises(ValueError):
        lq.job(name="bad")(lambda n: int("x")).test(1)


def test_what_fails_is_tried_again_or_becomes_a_dead_letter(lq: Levqor) -> None:
    tries: list[int] = []
    hopes: list[int] = []

    @lq.job(max_attempts=3, backoff={"initial": "1ms", "max": "1ms"})
    def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("away")
        return "ok"

    @lq.job(max_attempts=5)
    def hopeless() -> None:
        hopes.append(2)
        raise GiveUp("no such customer", code="crm.gone")

    a, b = flaky.enqueue(), hopeless.enqueue()
    with lq.worker(poll=0.01).start():
        assert lq.jobs.wait(a.id, 20).result == "ok" and lq.jobs.wait(b.id, 20).state == "dead"
    assert tries == [1] * 3 and hopes == [2]
    assert [j.error["code"] for j in lq.jobs.dead()] == ["crm.gone"]
    assert lq.jobs.redrive_all(code="crm.gone").jobs == [b.id]


def test_waits_outlive_the_process_and_signals_arrive() -> None:
    lq, clock = engine()

    @lq.job
    def trial(wf: Wf) -> Any:
        wf.progress({"at": "begin"})
        wf.sleep("a week", "7d")
        try:
            answer = wf.signal("payed", "1d")
        except Exception:
            return "swallowed"
        return answer or "nobody payed"

    job = trial.enqueue()
    lq.worker().drain()
    assert lq.jobs.get(job.id).state == "scheduled" and lq.jobs.get(job.id).progress == {"at": "begin"}
    clock.advance(7 * 86400)
    lq.worker().drain()
    lq.jobs.signal(job.id, "payed", {"amount": 5})
    lq.worker().drain()
    assert lq.jobs.get(job.id).result == {"amount": 5}
    other = trial.enqueue()
    lq.worker().drain()
    clock.advance(7 * 86400)
    lq.worker().drain()
    clock.advance(86400)
    lq.worker().drain()
    assert lq.jobs.get(other.id).result == "nobody payed"


def test_a_job_pays_from_its_hold(lq: Levqor) -> None:
    @lq.job
    def metered(wf: Wf) -> None:
        wf.capture("1.5")

    lq.credits.grant("acme", 10)
    metered.enqueue(account="acme", hold=4)
    assert lq.credits.balance("acme").held == 4
    lq.worker().drain()
    assert lq.credits.balance("acme").posted == Decimal("8.5")


def test_unique_debounced_batched_and_paused(lq: Levqor) -> None:
    seen: list[Any] = []
    lq.job(name="see")(lambda n: seen.append(n) or n)

    @lq.job
    def total(wf: Wf) -> int:
        return sum(j.result for j in wf.engine.jobs.list(batch=wf.follows))

    first = lq.jobs.enqueue("see", {"n": 1}, options={"unique": {"key": "k"}})
    assert lq.jobs.enqueue("see", {"n": 2}, options={"unique": {"key": "k"}}).id == first.id
    batch = lq.jobs.enqueue_batch([{"handler": "see", "input": {"n": n}} for n in (5, 6)], then={"handler": "total"})
    lq.jobs.pause("default")
    lq.worker().drain()
    assert seen == [] and lq.jobs.queues()[0].paused
    lq.jobs.resume("default")
    lq.jobs.limit("default", {"running": 1})
    lq.worker().drain()
    assert sorted(seen) == [1, 5, 6] and lq.jobs.batch(batch).done == 2
    assert [j.result for j in lq.jobs.list(handler="total")] == [11]


def test_cron_is_declared_once_and_fires_once(stored: Levqor) -> None:
    fired = threading.Event()

    @stored.cron("* * * * *", tz="Europe/London", misfire="skip", name="tick")
    def tick() -> None:
        fired.set()

    stored.declare()
    stored.declare()
    assert [s.name for s in stored.schedules.list()] == ["tick"]
    stored.schedules.run_now("tick")
    with stored.worker(poll=0.01).start():
        assert fired.wait(20)
