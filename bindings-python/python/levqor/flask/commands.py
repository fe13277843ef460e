"""`flask levqor ..`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from flask.cli import AppGroup

if TYPE_CHECKING:
    from levqor.flask import Levqor

__all__ = ["group"]


def _say(value: Any) -> None:
    click.echo(json.dumps(value, default=str, indent=2))


def group(lq: Levqor) -> AppGroup:
    """The commands of an app's engine."""
    commands = AppGroup("levqor", help="Limits, credits, jobs and checks of this app.")

    @commands.command("work")
    @click.option("--queues", default="default", help="Queues with commas between them, the first one served first.")
    @click.option("--concurrency", default=8, show_default=True)
    def work(queues: str, concurrency: int) -> None:
        """Take jobs and do them, and fire schedules, until told to stop."""
        report = lq.worker(queues=queues.split(","), concurrency=concurrency).run()
        _say(report.to_dict() if report else {})

    @commands.command("doctor")
    def doctor() -> None:
        """Say how the engine and its store stand."""
        _say({**lq.engine.info().to_dict(), "handlers": lq.engine.handlers(), "webhooks": lq.webhooks.names()})

    @commands.command("limits")
    def limits() -> None:
        """List the policies."""
        _say([p.to_dict() for p in lq.limits.policies()])

    @commands.command("jobs")
    @click.option("--state", default=None)
    @click.option("--limit", default=20, show_default=True)
    def jobs(state: Any, limit: int) -> None:
        """List jobs, newest first."""
        _say([j.to_dict() for j in lq.jobs.list(state=state, limit=limit)])

    @commands.command("redrive")
    @click.argument("job")
    def redrive(job: str) -> None:
        """Put a dead letter back to where it failed."""
        _say(lq.jobs.redrive(job).to_dict())

    @commands.command("key")
    @click.argument("name")
    @click.option("--account", default=None)
    @click.option("--scope", "scopes", multiple=True)
    def key(name: str, account: str | None, scopes: tuple[str, ...]) -> None:
        """Make an API key; it is shown this once."""
        made = lq.keys.create(name, account=account, scopes=list(scopes))
        _say({"id": made.id, "text": made.text})

    @commands.command("grant")
    @click.argument("account")
    @click.argument("amount")
    @click.option("--key", default=None, help="Idempotency key.")
    def grant(account: str, amount: str, key: str | None) -> None:
        """Give credits to an account."""
        _say(lq.credits.grant(account, amount, idempotency_key=key).to_dict())

    @commands.command("integrity")
    @click.argument("pack", required=False)
    @click.option("--evidence", default=None)
    def integrity(pack: str | None, evidence: str | None) -> None:
        """Run the checks; ends with 1 if the system is not ready."""
        report = lq.integrity.run(pack, evidence=evidence)
        _say({"verdict": report.words, "counts": report.counts, "evidence": report.evidence})
        if not report.passed:
            raise SystemExit(1)

    return commands
