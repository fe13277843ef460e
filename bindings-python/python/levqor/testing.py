"""For tests of code that uses the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from levqor import _native
from levqor.engine import Levqor

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Clock", "engine"]

Clock = _native.ManualClock
"""A clock that stands still until it is moved: `Levqor("memory://", clock=Clock("2026-03-01T12:00:00Z"))`."""


def engine(at: datetime | str = "2026-03-01T12:00:00Z", **options: Any) -> tuple[Levqor, _native.ManualClock]:
    """An engine in memory with its clock."""
    clock = Clock(at if isinstance(at, str) else at.isoformat())
    return Levqor("memory://", clock=clock, **options), clock
