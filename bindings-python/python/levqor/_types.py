"""What arguments may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypedDict, Union

Amount = Union[int, str, Decimal]
"""Credits: a whole number, a decimal text or a Decimal; never a float."""
Span = Union[timedelta, str, int, float]
"""A span of time: a timedelta, a text like `10m`, or seconds."""
Instant = Union[datetime, str]
"""An instant: an aware datetime, or RFC 3339."""
Until = Union[datetime, timedelta, str, int, float]
"""When something ends: an instant, or a span from its beginning."""
Who = Mapping[str, Union[str, bytes, int]]
"""Who calls: what policies count by, with its value: `{"user": "ann", "ip": "203.0.113.7"}`."""
Category = Literal["paid", "promo"]
Overage = Literal["reject", "allow"]
OnExpired = Union[Literal["expire"], Mapping[str, int]]
JobState = Literal["scheduled", "ready", "leased", "done", "dead", "cancelled"]
Json = Any
"""Plain data as JSON knows it."""


class Money(TypedDict):
    """Minor units (cents) of a currency."""

    minor: int
    currency: str


class _Ask(TypedDict):
    name: str
    key: str | bytes | int
    quota: str


class Ask(_Ask, total=False):
    """One limit asked for one key."""

    cost: int
    op: Literal["take", "peek", "reward", "penalty", "reset", "block", "unblock", "queue", "release", "renew"]
    span: Span
    taken: float


class Outcome(TypedDict):
    """What came of one limit that was asked."""

    name: str
    quota: str
    admitted: bool
    limit: int
    remaining: int
    reset_after: float
    retry_after: float | None
    ready_after: float
    reason: str | None


Names = Sequence[str]
