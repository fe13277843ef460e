"""What Python shows is what the engine has: verbs, arguments, errors, models."""

from __future__ import annotations

import datetime
import inspect
import pickle
import subprocess
import sys
from typing import Any

import pytest

import levqor
from levqor import Levqor, _native, errors, models
from levqor.engine import Engine

from conftest import HELLO

ROOMS: list[type] = [type(getattr(Levqor("memory://"), room)) for room in (
    "limits", "credits", "runs", "jobs", "pipelines", "schedules", "connectors", "records", "integrity", "keys", "webhooks")] + [Engine]


def methods() -> dict[str, Any]:
    found = {}
    for room in ROOMS:
        for name, method in vars(room).items():
            if hasattr(method, "_verb") and method.__name__.lstrip("_") == name.lstrip("_"):
                found[f"{room.__name__.lower()}.{name.lstrip('_')}"] = (room, method)
    return found


def test_every_verb_is_a_method_with_the_same_arguments_and_has_a_twin() -> None:
    found = methods()
    twins = {m._verb for room in ROOMS for m in vars(room).values() if hasattr(m, "_verb") and m.__name__.startswith("a") and m.__qualname__ != m.__wrapped__.__qualname__}
    for index, verb in enumerate(_native.verbs_list()):
        room, method = found[verb["name"]]
        assert method._verb == index
        assert index in twins, f"{verb['name']} has no twin"
        params = list(inspect.signature(method).parameters.values())[1:]
        assert [p.name for p in params] == [p["name"] for p in verb["params"]], verb["name"]
        for mine, theirs in zip(params, verb["params"]):
            place = f"{verb['name']}({mine.name})"
            assert (mine.kind is not inspect.Parameter.KEYWORD_ONLY) == theirs["by_position"], place
            assert (mine.default is inspect.Parameter.empty) == theirs["required"], place
            if not theirs["required"]:
                default = list(mine.default) if mine.default == () else mine.default
                assert default == theirs["default"], place


def test_every_kind_of_error_has_its_exception() -> None:
    kinds = _native.error_kinds()
    assert {k["kind"] for k in kinds} == set(errors._KINDS)
    for kind in kinds:
        cls = errors._KINDS[kind["kind"]]
        assert (cls.kind, cls.status, cls.retryable) == (kind["kind"], kind["status"], kind["retryable"])
    for code, cls in errors._CODES.items():
        assert issubclass(cls, errors.LevqorError), code


def test_an_error_says_everything_and_survives_pickling(lq: Levqor) -> None:
    with pytest.raises(levqor.InsufficientCredits) as caught:
        lq.credits.spend("nobody", 1)
    e = caught.value
    assert (e.code, e.status, e.retryable, e.kind) == ("ledger.insufficient_credits", 402, False, "insufficient")
    assert e.hint and e.docs.startswith("urn:levqor:error:") and e.problem()["status"] == 402
    again = pickle.loads(pickle.dumps(e))
    assert (type(again), again.code, str(again)) == (type(e), e.code, str(e))
    with pytest.raises(levqor.InvalidInput) as faults:
        lq.pipelines.check({"version": 1, "name": "x", "steps": [{"id": "a"}, {"id": "a", "set": 1}]})
    assert len(faults.value.errors) >= 2 and all(f["code"] and "at" in f for f in faults.value.errors)


def test_amounts_are_never_floats(lq: Levqor) -> None:
    for bad in (1.5, 1.0, float("nan"), True, None, "1e3", "0.0000001", b"1", [1]):
        with pytest.raises((TypeError, ValueError)) as caught:
            lq.credits.grant("acme", bad)  # type: ignore[arg-type]
        assert isinstance(caught.value, levqor.LevqorError), bad
    with pytest.raises(TypeError) as caught_float:
        lq.credits.grant("acme", 1.5)  # type: ignore[arg-type]
    assert caught_float.value.code == "amount.float"  # type: ignore[attr-defined]


def test_arguments_are_bound_as_python_binds_them(lq: Levqor) -> None:
    for args, kwargs in [((), {}), (("a", 1, 2), {}), (("a", 1), {"amount": 2}), (("a", 1), {"key": "x"})]:
        with pytest.raises(TypeError):
            lq.credits.spend(*args, **kwargs)  # type: ignore[arg-type]


def keys_of(model: type) -> set[str]:
    return {f.name for f in models.fields(model)}  # type: ignore[arg-type]


def test_models_have_the_fields_that_the_engine_answers(lq: Levqor) -> None:
    def raw(room: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return lq._native.call(getattr(type(room), name)._verb, args, kwargs)

    c = lq.credits
    grant = raw(c, "grant", "acme", 100)
    assert set(grant) == keys_of(models.LedgerAnswer)
    hold = raw(c, "hold", "acme", 1)
    for name, args, model in [
        ("balance", ("acme",), models.Balance), ("find_hold", (hold["id"],), models.Hold), ("totals", (), models.Totals),
        ("audit", (), models.AuditReport),
    ]:
        assert set(raw(c, name, *args)) == keys_of(model), name
    assert set(raw(c, "grants", "acme")[0]) == keys_of(models.Grant)
    assert set(raw(c, "statement", "acme")[0]) == keys_of(models.StatementLine)
    assert set(raw(lq.pipelines, "register", HELLO)) == keys_of(models.Pipeline)
    assert set(raw(lq.pipelines, "list")[0]) == keys_of(models.Registered)
    run = raw(lq.runs, "submit", "acme", "hello", {"name": "Ann"})
    assert set(run) == keys_of(models.Submitted)
    assert set(lq.worker()._native.drain()) == keys_of(models.WorkerReport)
    status = raw(lq.runs, "status", run["id"])
    assert set(status) == keys_of(models.Run) and set(status["steps"][0]) == keys_of(models.Step)
    assert set(raw(lq.jobs, "get", run["id"])) == keys_of(models.Job)
    schedule = {"id": "n", "when": {"cron": "0 2 * * *"}, "target": {"kind": "run", "account": "acme", "pipeline": "hello", "input": {"name": "x"}}}
    declared = raw(lq.schedules, "put", schedule)
    assert set(declared) == keys_of(models.Declared) and set(declared["view"]) == keys_of(models.Schedule)
    lq.schedules.run_now("n")
    assert set(raw(lq.schedules, "history", "n")[0]) == keys_of(models.Tick)
    assert set(raw(lq.schedules, "fire_due")) == keys_of(models.FireReport)
    assert set(raw(lq.schedules, "backfill", "n", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")) == keys_of(models.Backfilled)
    lq.records.put("notes", "a", {"x": 1})
    assert set(raw(lq.records, "get", "notes", "a")) == keys_of(models.Record)
    assert set(lq._native.call(Engine.info._verb, ())) == keys_of(models.Info)  # type: ignore[attr-defined]
    assert set(raw(lq.integrity, "checks")[0]) == keys_of(models.CheckInfo)


def test_answers_are_typed(lq: Levqor) -> None:
    answer = lq.credits.grant("acme", "2.5", expires=datetime.timedelta(days=30))
    assert str(answer.remaining) == "2.5"
    grant = lq.credits.grants("acme")[0]
    assert grant.expires_at is not None and grant.expires_at - grant.effective_at == datetime.timedelta(days=30)
    assert lq.credits.balance_at("acme", lq.now()) == lq.credits.balance("acme").posted


def test_nothing_is_opened_before_the_first_call(tmp_path: Any) -> None:
    lq = Levqor(f"sqlite://{tmp_path}/none/x.db")
    lq.limiter("runs", "1/minute")
    assert not lq.is_open and not list(tmp_path.iterdir())
    lq.close()
    lq.close()
    with Levqor("mysql://nowhere") as wrong, pytest.raises(errors.ConfigError) as caught:
        wrong.credits.balance("a")
    assert caught.value.code == "store.bad_url"


def test_an_import_is_light() -> None:
    code = "import sys; import levqor; print([m for m in ('asyncio', 'dataclasses', 'logging', 'flask', 'json', 'datetime') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
