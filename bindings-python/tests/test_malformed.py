"""Whatever is handed in: a typed error, never a crash."""

from __future__ import annotations

import datetime
import decimal
import random
from typing import Any

import pytest

from levqor import Levqor, LevqorError, _native
from levqor.testing import Clock

PER_ENTRY = 10_000


def deep(n: int) -> Any:
    value: Any = []
    for _ in range(n):
        value = [value]
    return value


def circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**64), 10**400, 0.0, -0.0, 1.5, 1e308, float("nan"), float("inf"),
    "", " ", "a", "acme", "\x00", "a" * 300, "a" * 70_000, "\ud800", "é" * 200, "../../etc/passwd", "'; DROP TABLE levqor_job; --", "1e3",
    "9223372036854.775808", "-1", "60/minute", "0/0", "10m", "99999999999999999999d", "2026-02-30T00:00:00Z", "(a+)+$",
    b"", b"\xff\xfe", bytearray(b"x"), memoryview(b"x"), [], [[]], {}, {"": None}, {1: 2}, {"$ref": "x"}, {"$bytes": 1}, (), (1, 2), {1}, object(), object,
    lambda: None, deep(200), circle(), {"a": circle()}, datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=-1), datetime.timedelta(days=999_999_999), decimal.Decimal("NaN"), decimal.Decimal("Infinity"), decimal.Decimal("1e30"),
    decimal.Decimal("0.0000001"), 3 + 4j, range(3), "job_00000000000000000000000000", "hold_00000000000000000000000000",
    {"version": 1, "name": "x", "steps": [{"id": "a", "set": {"$ref": "input.x"}}]},
    {"version": 1, "name": "x", "steps": [{"id": "a", "action": "http.request", "input": {"url": "http://169.254.169.254/"}}]},
    [{"op": "spend", "account": "a", "amount": 1.5}], [{"op": "grant"}], [{"name": "x", "key": "k", "quota": "1/s"}] * 20,
    {"id": "x", "when": {"cron": "* * * * *"}, "target": {"kind": "job", "handler": "h"}}, {"minor": 1.5, "currency": "EUR"},
]


@pytest.fixture(scope="module")
def engine() -> Levqor:
    lq = Levqor("memory://", vendors=False)
    lq.credits.grant("acme", 100)
    return lq


SKIP = {"limits.wait", "runs.wait", "jobs.wait", "integrity.run"}
"""These wait by design, or read files; their arguments are the same types as those of others."""


@pytest.mark.parametrize("verb", [v for v in _native.verbs_list() if v["name"] not in SKIP], ids=lambda v: str(v["name"]))
def test_malformed_input_is_a_typed_error(engine: Levqor, verb: Any) -> None:
    dice = random.Random(verb["name"])
    index = _native.verb(verb["name"])
    params = verb["params"]
    if not params:
        with pytest.raises(TypeError):
            engine._native.call(index, (1,), {})
        return
    refused = 0
    for _ in range(PER_ENTRY if params else 1):
        args = {p["name"]: dice.choice(ODD) for p in params if p["required"] or dice.random() < 0.4}
        if dice.random() < 0.05:
            args[dice.choice(["x", "", "self"])] = 1
        if args and dice.random() < 0.05:
            args.pop(dice.choice(sorted(args)))
        try:
            engine._native.call(index, (), args)
        except (LevqorError, TypeError):
            refused += 1
    assert refused > 0
    assert engine.credits.balance("acme").posted is not None


def test_malformed_keys_and_quotas_are_typed_errors(engine: Levqor) -> None:
    dice = random.Random(7)
    lim = engine.limiter("x", "5/minute")
    for _ in range(PER_ENTRY):
        key, cost = dice.choice(ODD), dice.choice(ODD)
        try:
            lim.take(key, cost)
        except (LevqorError, TypeError, OverflowError):
            pass
    for _ in range(PER_ENTRY):
        name, quota = dice.choice(ODD), dice.choice(ODD)
        try:
            engine._native.limiter(name, quota)
        except (LevqorError, TypeError, UnicodeEncodeError):
            pass


def test_malformed_configuration_is_a_typed_error() -> None:
    dice = random.Random(8)
    base = {"url": "memory://", "redis": None, "tenant": "default", "limits": None, "submit_limits": {}, "connections": {}, "allow": [], "vendors": False, "webhooks": {}}
    for n in range(PER_ENTRY):
        config = {**base, dice.choice([k for k in base if k != "url"]): dice.choice(ODD)}
        if n % 7 == 0:
            config[dice.choice(["x", "url"])] = dice.choice([o for o in ODD if not isinstance(o, str) or "/" not in o])
        try:
            engine = _native.Engine(config)
            if n % 50 == 0:
                engine.call(_native.verb("credits.balance"), ("a",))
        except (LevqorError, TypeError):
            pass


def test_malformed_clocks_and_workers_are_typed_errors(engine: Levqor) -> None:
    for odd in ODD:
        for call in (lambda: Clock(odd), lambda: Clock("2026-01-01T00:00:00Z").advance(odd), lambda: engine._native.worker({"concurrency": odd}),
                     lambda: engine._native.tenant(odd), lambda: engine._native.add_check(odd, odd, odd, odd),
                     lambda: engine._native.call(odd, ()), lambda: _native.verb(odd)):
            try:
                call()
            except (LevqorError, TypeError, ValueError, OverflowError, AttributeError, IndexError):
                pass
