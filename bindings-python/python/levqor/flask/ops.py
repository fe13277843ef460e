"""The ops page: jobs, dead letters, credits, limits, latency, integrity runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, current_app, g, redirect, render_template, request, url_for

from levqor import _native
from levqor.errors import LevqorError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["blueprint"]

STATES = ("ready", "scheduled", "leased", "dead")


def blueprint(allowed: Callable[[], bool] | None = None) -> Blueprint:
    """The page as a blueprint. Who may see it: what `allowed` says; without it, who has an API key with the scope `ops`, sent as
    bearer, or as the password when the browser asks for one."""
    ops = Blueprint("levqor_ops", __name__, template_folder="templates")

    @ops.before_request
    def guard() -> Any:
        if allowed is not None:
            return None if allowed() else abort(403)
        authorization = request.headers.get("Authorization")
        if request.authorization is not None and request.authorization.type == "basic":
            authorization = f"Bearer {request.authorization.password}"
        try:
            g.levqor.key = _native.key_of(g.levqor.state.engine._native, authorization, request.headers.get("X-Api-Key"), ["ops"])
        except LevqorError as e:
            return e.message, e.status, {"WWW-Authenticate": 'Basic realm="ops", charset="UTF-8"'}
        if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            abort(403)
        return None

    @ops.get("/")
    def index() -> Any:
        state = current_app.extensions["levqor"]
        lq = state.engine
        counts = {name: 0 for name in STATES}
        queues: dict[str, dict[str, int]] = {}
        for count in lq.jobs.counts():
            counts[count.state] = counts.get(count.state, 0) + count.count
            queues.setdefault(count.queue, {})[count.state] = count.count
        account, who = request.args.get("account", "").strip(), request.args.get("who", "").strip()
        return render_template(
            "levqor_ops.html", info=lq.info(), counts=counts, queues=sorted(queues.items()), jobs=lq.jobs.list(limit=15),
            dead=lq.jobs.dead(limit=15), totals=lq.credits.totals(), account=account, who=who,
            balance=lq.credits.balance(account) if account else None,
            statement=lq.credits.statement(account, limit=10) if account else [],
            policies=lq.limits.policies(), limits=sorted(state.limiters), standing=_standing(lq, who),
            latency=_latency(state), requests=sum(state.counts), actions=lq.stats(), evidence=_evidence(),
            schedules=lq.schedules.list(limit=20), done=request.args.get("done", ""), paused={q.queue for q in lq.jobs.queues() if q.paused},
        )

    @ops.post("/redrive/<job>")
    def redrive(job: str) -> Any:
        current_app.extensions["levqor"].engine.jobs.redrive(job)
        return redirect(url_for("levqor_ops.index", done=f"{job} waits for a worker again"))

    @ops.post("/redrive")
    def redrive_all() -> Any:
        report = current_app.extensions["levqor"].engine.jobs.redrive_all(at_most=1000)
        said = f"{len(report.jobs)} jobs wait for a worker again" + (f", {len(report.refused)} were refused" if report.refused else "")
        return redirect(url_for("levqor_ops.index", done=said))

    @ops.post("/queues/<queue>/<what>")
    def queue(queue: str, what: str) -> Any:
        jobs = current_app.extensions["levqor"].engine.jobs
        if what not in ("pause", "resume"):
            abort(404)
        getattr(jobs, what)(queue)
        return redirect(url_for("levqor_ops.index", done=f"{queue}: {what}d"))

    return ops


def _standing(lq: Any, who: str) -> Any:
    if not who:
        return None
    name, _, value = who.partition("=")
    try:
        return lq.limits.peek({name: value} if value else {"user": name})
    except LevqorError:
        return None


def _latency(state: Any) -> list[dict[str, Any]]:
    """Bars of a histogram: the share of requests in each bucket, and its label."""
    from levqor.flask import BUCKETS

    most = max(state.counts) or 1
    ends = [f"{end * 1000:g} ms" if end < 1 else f"{end:g} s" for end in BUCKETS] + ["more"]
    return [{"label": end, "count": count, "height": round(96 * count / most, 1)} for end, count in zip(ends, state.counts)]


def _evidence() -> list[dict[str, Any]]:
    import json

    folder = current_app.config.get("LEVQOR_EVIDENCE", "evidence")
    if not os.path.isdir(folder):
        return []
    runs: list[dict[str, Any]] = []
    for name in sorted(os.listdir(folder), reverse=True)[:10]:
        try:
            with open(os.path.join(folder, name, "evidence.json"), encoding="utf-8") as file:
                evidence = json.load(file)
            runs.append({"name": name, "verdict": evidence["verdict"], "counts": evidence["counts"], "started": evidence["run"]["started"]})
        except (OSError, ValueError, KeyError):
            continue
    return runs
