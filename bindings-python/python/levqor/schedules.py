"""Schedules: what is started when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levqor._verb import Room, declared, twin, verb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from levqor._types import Instant
    from levqor.models import Backfilled, Declared, FireReport, Schedule, Tick

__all__ = ["Schedules"]


class Schedules(Room):
    """Declare schedules, look at them, fire them. Each tick is fired once, however many workers there are."""

    __slots__ = ()

    @verb
    def put(self, schedule: Mapping[str, Any]) -> Declared:
        """Declares a schedule: `{"id": .., "when": {"cron": "0 2 * * *"}, "zone": .., "target": {"kind": "run", ..}}`. Spans are milliseconds."""
        declared()

    @verb
    def get(self, name: str) -> Schedule:
        """A schedule by its name."""
        declared()

    @verb
    def pause(self, name: str) -> Schedule:
        """Puts a schedule on hold."""
        declared()

    @verb
    def resume(self, name: str) -> Schedule:
        """Goes on with the first tick after now."""
        declared()

    @verb
    def delete(self, name: str) -> None:
        """Removes a schedule and its history. Jobs that it started go on."""
        declared()

    @verb
    def run_now(self, name: str, *, idempotency_key: str | None = None) -> str:
        """Starts its job now; its ticks stay as they are. Gives the job's id."""
        declared()

    @verb
    def backfill(self, name: str, since: Instant, until: Instant) -> Backfilled:
        """Starts the ticks in a span of the past that were not started before. Safe to repeat."""
        declared()

    @verb
    def history(self, name: str, *, before: int | None = None, limit: int = 50) -> list[Tick]:
        """What became of its ticks, newest first."""
        declared()

    @verb
    def next(self, name: str, count: int = 5) -> list[datetime]:
        """Its next ticks."""
        declared()

    @verb
    def fire_due(self) -> FireReport:
        """Fires what is due. A worker does this by itself."""
        declared()

    @verb
    def list(self, *, after: str | None = None, limit: int = 50) -> list[Schedule]:
        """Schedules, by name."""
        declared()

    aput = twin(put)
    aget = twin(get)
    apause = twin(pause)
    aresume = twin(resume)
    adelete = twin(delete)
    arun_now = twin(run_now)
    abackfill = twin(backfill)
    ahistory = twin(history)
    anext = twin(next)
    afire_due = twin(fire_due)
    alist = twin(list)
