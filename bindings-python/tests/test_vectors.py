"""The golden vectors, through Python, with the same results as in Rust."""

from __future__ import annotations

import datetime
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from levqor import Levqor, LevqorError
from levqor.connectors import Connector
from levqor.testing import Clock

from conftest import vectors


def rfc3339(ms: int) -> str:
    at = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(milliseconds=ms)
    return at.isoformat()


def ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


@pytest.mark.parametrize("case", vectors("limits")["cases"], ids=lambda c: str(c["name"]))
def test_limits(case: Any) -> None:
    clock = Clock("2020-01-01T00:00:00Z")
    lq = Levqor("memory://", clock=clock)
    for step in case["steps"]:
        clock.set(rfc3339(step["at_ms"]))
        asks = []
        for ask in step["asks"]:
            ask = dict(ask)
            if "until_ms" in ask:
                ask["span"] = (ask.pop("until_ms") - step["at_ms"]) / 1000
            if "patience_ms" in ask:
                ask["span"] = ask.pop("patience_ms") / 1000
            if "taken_ms" in ask:
                ask["taken"] = ask.pop("taken_ms") / 1000
            asks.append(ask)
        decision = lq.limits.ask(asks)
        expect = step["expect"]
        seen: dict[str, Any] = {"admitted": decision.admitted, "reason": decision.reason, "retry_after_ms": ms(decision.retry_after)}
        seen["headers"] = decision.headers()
        seen["asks"] = [{"name": a["name"], "admitted": a["admitted"], "remaining": a["remaining"], "reset_after_ms": ms(a["reset_after"]),
                         "retry_after_ms": ms(a["retry_after"]), "reason": a["reason"]} for a in decision.asks]
        if "ready_after_ms" in expect:
            seen["ready_after_ms"] = ms(decision.ready_after)
        for a, b in zip(seen["asks"], expect["asks"]):
            assert {k: v for k, v in b.items() if k in a} == a
        assert {k: seen[k] for k in expect if k != "asks"} == {k: v for k, v in expect.items() if k != "asks"}


class Play:
    """One scenario of credits under way."""

    def __init__(self) -> None:
        self.clock = Clock("1970-01-01T00:00:00Z")
        self.lq = Levqor("memory://", clock=self.clock)
        self.names: dict[str, list[str]] = {}

    def call(self, op: str, args: dict[str, Any], key: str | None) -> Any:
        c = self.lq._native
        args = {name: self.names[value][0] if name in ("hold", "txn", "grant") and value in self.names else value for name, value in args.items()}
        self.spans(args)
        if "regrant_days" in args:
            args["on_expired"] = {"regrant": args.pop("regrant_days")}
        if op == "transfer":
            args = {"giver": args["from"], "taker": args["to"], "amount": args["amount"]}
        if op == "linked":
            args = {"operations": [self.linked(one["op"], dict(one["args"])) for one in args["ops"]]}
        if op == "balance_at":
            by = "booked" if "booked" in args else "recorded"
            args = {"account": args["account"], "at": args[by], "by": by}
        if op == "statement":
            return self.statement(args)
        if op == "rollover":
            args = {"least": args.pop("min"), "most": args.pop("max"), **args}
        if op == "split":
            args["whole"] = int(args["whole"])
        if key is not None:
            args["idempotency_key"] = key
        answer = c.call(getattr(type(self.lq.credits), op)._verb, (), args)
        if op == "grants":
            return {g["id"]: g["remaining"] for g in answer}
        if op == "split":
            return [str(part) for part in answer]
        if op == "audit":
            return {"sum": answer["sum"], "sound": not answer["violations"], "violations": answer["violations"]}
        return answer

    @staticmethod
    def spans(args: dict[str, Any]) -> None:
        for name in ("expires", "until"):
            if isinstance(args.get(name), int):
                args[name] = f"{args[name]}ms"

    def linked(self, op: str, args: dict[str, Any]) -> dict[str, Any]:
        self.spans(args)
        if op == "grant":
            terms = {k: v for k, v in args.items() if k not in ("account", "amount")}
            args = {"account": args["account"], "amount": args["amount"], **({"terms": terms} if terms else {})}
        return {"op": op, **args}

    def statement(self, args: dict[str, Any]) -> list[list[str]]:
        lines: list[Any] = []
        after = 0
        while True:
            page = self.lq._native.call(type(self.lq.credits).statement._verb, (args["account"],), {  # type: ignore[attr-defined]
                "since": args.get("from"), "until": args.get("to"), "after": after, "limit": 2})
            lines += page
            if len(page) < 2:
                return [[line["kind"], line["amount"], line["after"]] for line in lines]
            after = page[-1]["version"]

    def step(self, step: dict[str, Any]) -> None:
        if "at" in step:
            self.clock.set(step["at"])
        if step["op"] == "parallel":
            return self.parallel(step)
        try:
            answer = self.call(step["op"], step.get("args", {}), step.get("key"))
        except LevqorError as e:
            assert e.code == step.get("error"), e
            return
        assert "error" not in step, f"not refused: {answer}"
        if "as" in step:
            self.names[step["as"]] = [answer["id"]]
        expect = step.get("expect")
        if isinstance(expect, dict):
            expect = {name: self.names[v][0] if isinstance(v, str) and v in self.names else v for name, v in expect.items()}
            if step["op"] == "grants":
                answer = {name: answer.get(self.names[name][0]) for name in expect}
            else:
                answer = {name: answer.get(name) for name in expect}
        if expect is not None:
            assert answer == expect

    def parallel(self, step: dict[str, Any]) -> None:
        call = step["call"]
        each = self.names[step["for_each"]] if "for_each" in step else [None] * step["times"]

        def one(value: str | None) -> Any:
            args = {name: value if arg == "{each}" else arg for name, arg in call["args"].items()}
            try:
                return "ok", self.call(call["op"], args, call.get("key"))["id"]
            except LevqorError as e:
                return e.code, None

        with ThreadPoolExecutor(min(step["tasks"], 16)) as pool:
            outcomes = list(pool.map(one, each))
        seen: dict[str, int] = dict(Counter(code for code, _ in outcomes))
        ids = [id for _, id in outcomes if id]
        if "answers" in step["expect"]:
            seen["answers"] = len(set(ids))
        if "as" in step:
            self.names[step["as"]] = ids
        assert seen == step["expect"]


@pytest.mark.parametrize("scenario", vectors("credits")["scenarios"], ids=lambda s: str(s["name"]))
def test_credits(scenario: Any) -> None:
    play = Play()
    for step in scenario["steps"]:
        play.step(step)


@pytest.mark.parametrize("case", vectors("cron")["cases"], ids=lambda c: f"{c['expression']} {c['zone']} {c['from']}")
def test_cron(case: Any) -> None:
    lq = Levqor("memory://", clock=Clock(case["from"]))
    lq.schedules.put({"id": "x", "when": {"cron": case["expression"]}, "zone": case["zone"], "target": {"kind": "job", "handler": "h", "args": {}}})
    expect = [datetime.datetime.fromisoformat(at) for at in case["next"]]
    assert lq.schedules.next("x", 5) == expect


@pytest.mark.parametrize("expression", vectors("cron")["refused"])
def test_cron_refused(expression: str) -> None:
    lq = Levqor("memory://")
    with pytest.raises(LevqorError) as caught:
        lq.schedules.put({"id": "x", "when": {"cron": expression}, "target": {"kind": "job", "handler": "h"}})
    assert caught.value.code in ("schedule.bad_cron", "schedule.never_fires")


@pytest.fixture(scope="module")
def catalog() -> Levqor:
    given = vectors("pipeline")["catalog"]
    made: dict[str, Connector] = {}
    for full, about in given["actions"].items():
        name, action = full.split(".")
        connector = made.setdefault(name, Connector(name))
        connector.action(action, input=about["input"], output=about["output"])(lambda cx, **rest: rest)
    return Levqor("memory://", vendors=False, connectors=list(made.values()), connections={name: {} for name in given["connections"]})


@pytest.mark.parametrize("case", vectors("pipeline")["pipelines"], ids=lambda c: str(c["name"]))
def test_pipelines(catalog: Levqor, case: Any) -> None:
    if case["expect"] == "ok":
        assert catalog.pipelines.check(case["pipeline"]).name == case["pipeline"]["name"]
        return
    with pytest.raises(LevqorError) as caught:
        catalog.pipelines.check(case["pipeline"])
    seen = {(f["at"], f["code"]) for f in caught.value.errors} or {(caught.value.at or "", caught.value.code)}
    assert seen == {(f["at"], f["code"]) for f in case["expect"]["faults"]}
