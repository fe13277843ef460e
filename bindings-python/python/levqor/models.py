"""What the engine answers, as plain typed data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_END = 253_402_300_799_000
"""The last second of the year 9999: later instants mean never."""


class _Model:
    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Its fields by name."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True, slots=True)
class LedgerAnswer(_Model):
    """What came of an operation on credits, and the account's balance after it."""

    id: str
    amount: Decimal
    posted: Decimal
    held: Decimal
    overdraft: Decimal
    spent: bool

    @property
    def remaining(self) -> Decimal:
        """What the account has left: posted less held."""
        return self.posted - self.held


@dataclass(frozen=True, slots=True)
class Balance(_Model):
    """What an account is worth."""

    posted: Decimal
    held: Decimal
    available: Decimal
    spendable: Decimal


@dataclass(frozen=True, slots=True)
class StatementLine(_Model):
    """One line of a statement, with the balance after it."""

    version: int
    booked_at: datetime
    kind: str
    about: str
    amount: Decimal
    after: Decimal
    txn: str


@dataclass(frozen=True, slots=True)
class Grant(_Model):
    """Credits that were granted together, and what is left of them."""

    id: str
    tenant: str
    owner: str
    amount: Decimal
    priority: int
    category: str
    seq: int
    effective_at: datetime
    expires_at: datetime | None
    source: str | None
    paid_minor: int | None
    currency: str | None
    remaining: Decimal
    held: Decimal
    broken: Decimal
    refunded_minor: int
    clawed: Decimal
    state: str
    closed: bool


@dataclass(frozen=True, slots=True)
class Hold(_Model):
    """Credits that are reserved, and what became of them."""

    id: str
    tenant: str
    owner: str
    amount: Decimal
    opened_at: datetime
    captured: Decimal
    open: Decimal
    state: str
    expires_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Totals(_Model):
    """What all accounts did together."""

    issued: Decimal
    issued_paid: Decimal
    revenue: Decimal
    breakage: Decimal
    clawback: Decimal


@dataclass(frozen=True, slots=True)
class Violation(_Model):
    """A rule of the ledger that does not hold."""

    rule: str
    at: str
    message: str


@dataclass(frozen=True, slots=True)
class AuditReport(_Model):
    """The proof of a ledger. `sum` is of all entries, in millionths of a credit: zero if nothing was made up."""

    accounts: int
    entries: int
    sum: int
    violations: list[Violation]


@dataclass(frozen=True, slots=True)
class Policy(_Model):
    """A limit by name."""

    name: str
    quota: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class ApiKey(_Model):
    """A key that was made: its text is shown this once."""

    id: str
    text: str

    def __repr__(self) -> str:
        return f"ApiKey(id={self.id!r}, text=..)"


@dataclass(frozen=True, slots=True)
class KeyInfo(_Model):
    """A key as it may be shown."""

    id: str
    name: str
    account: str | None
    scopes: list[str]
    limit: str | None
    expires_at: datetime | None
    metadata: dict[str, Any]
    created_at: datetime
    revoked_at: datetime | None
    rotated_at: datetime | None
    previous_until: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Event(_Model):
    """Something that happened at a vendor."""

    id: str
    type: str
    created: datetime | None
    data: Any
    body: Any


@dataclass(frozen=True, slots=True)
class Submitted(_Model):
    """A run that was accepted."""

    id: str
    replayed: bool
    held: Decimal
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Step(_Model):
    """A step of a run, or one item of a step that goes over many."""

    path: str
    status: str
    attempts: int
    output: Any
    error: Any
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Run(_Model):
    """A run of a pipeline."""

    id: str
    state: str
    account: str | None
    pipeline: str | None
    result: Any
    error: Any
    attempt: int
    captured: Decimal
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    steps: list[Step]

    @property
    def ended(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in ("done", "dead", "cancelled")


@dataclass(frozen=True, slots=True)
class Job(_Model):
    """Something to be done once."""

    id: str
    queue: str
    handler: str
    account: str | None
    state: str
    args: Any
    priority: int
    attempt: int
    max_attempts: int
    result: Any
    error: Any
    progress: Any
    captured: Decimal
    held: Decimal
    hold: str | None
    cancel_asked: bool
    worker: str | None
    unique_key: str | None
    concurrency_key: str | None
    batch: str | None
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Enqueued(_Model):
    """A job that was enqueued. `duplicate`: another job had its unique key, and this is that job."""

    id: str
    duplicate: bool
    replayed: bool
    hold: str | None


@dataclass(frozen=True, slots=True)
class Batch(_Model):
    """Jobs that belong together."""

    id: str
    tenant: str
    state: str
    total: int
    done: int
    dead: int
    cancelled: int
    follower: str | None
    always: bool
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Redriven(_Model):
    """What became of many dead letters."""

    jobs: list[str]
    refused: list[Any]


@dataclass(frozen=True, slots=True)
class Queue(_Model):
    """A queue that was told something."""

    queue: str
    paused: bool
    updated_at: datetime
    limits: dict[str, Any]


@dataclass(frozen=True, slots=True)
class QueueCount(_Model):
    """How many jobs stand in a queue and a state."""

    queue: str
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class Pipeline(_Model):
    """A pipeline that was found to be good."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Registered(_Model):
    """A pipeline that is kept under its name."""

    name: str
    digest: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Output(_Model):
    """What an action gave back, and how many attempts it took."""

    data: Any
    attempts: int


@dataclass(frozen=True, slots=True)
class Schedule(_Model):
    """A schedule and where it stands."""

    schedule: dict[str, Any]
    state: str
    revision: int
    next_tick: datetime | None
    fires: int
    running: list[str]
    waiting: int
    created_at: datetime
    updated_at: datetime

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.schedule["id"])


@dataclass(frozen=True, slots=True)
class Declared(_Model):
    """What came of declaring a schedule."""

    view: Schedule
    changed: bool


@dataclass(frozen=True, slots=True)
class Backfilled(_Model):
    """What came of a backfill."""

    ticks: int
    fired: int
    waiting: int
    refused: int
    known: int


@dataclass(frozen=True, slots=True)
class FireReport(_Model):
    """What came of firing what is due."""

    fired: int
    next_due: datetime | None


@dataclass(frozen=True, slots=True)
class Tick(_Model):
    """What became of a tick of a schedule."""

    tenant: str
    schedule: str
    seq: int
    tick: datetime
    cause: str
    ticks: int
    outcome: str
    job: str | None
    error: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Record(_Model):
    """A document of the host's own."""

    name: str
    version: int
    body: Any
    updated_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Info(_Model):
    """The engine and its store."""

    version: str
    store: str
    store_version: str
    place: str
    durable: bool
    shared: bool
    clock_offset: timedelta
    tenant: str
    connectors: list[str]


@dataclass(frozen=True, slots=True)
class ActionStats(_Model):
    """What calls of an action took. `latency` has upper ends in microseconds with the calls up to there."""

    connector: str
    action: str
    outcomes: dict[str, int]
    attempts: int
    micros: int
    latency: list[Any]


@dataclass(frozen=True, slots=True)
class WorkerReport(_Model):
    """What a worker did."""

    done: int
    failed: int
    snoozed: int
    cancelled: int
    released: int
    lost: int


@dataclass(frozen=True, slots=True)
class IntegrityReport(_Model):
    """What an integrity run found. What could not be told is never passed."""

    id: str
    verdict: str
    words: str
    counts: dict[str, int]
    checks: list[dict[str, Any]]
    exit_code: int
    started: datetime
    ended: datetime
    evidence: dict[str, Any] | None

    @property
    def passed(self) -> bool:
        """Whether the system is ready, with warnings or without."""
        return self.exit_code == 0

    def raise_if_failed(self) -> IntegrityReport:
        """Itself if it passed; else raises."""
        if self.passed:
            return self
        from levqor.errors import Conflict

        looks = ", ".join(str(c["id"]) for c in self.checks if c["status"] in ("FAIL", "ERROR", "fail", "error"))
        raise Conflict(f"the integrity run says {self.words}: {looks}", code="integrity.not_ready")


@dataclass(frozen=True, slots=True)
class Verified(_Model):
    """Whether evidence is what was signed."""

    ok: bool
    problems: list[dict[str, str]]
    signer: str | None
    trusted: bool | None
    files: int
    records: int
    evidence_sha256: str | None


@dataclass(frozen=True, slots=True)
class CheckInfo(_Model):
    """A standard check."""

    id: str
    about: dict[str, Any] = field(default_factory=dict)


def _instant(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=min(ms, _END))


def _span(ms: int) -> timedelta:
    return timedelta(milliseconds=ms)


def _headers(value: Any) -> Any:
    return dict(value) if isinstance(value, list) else value


_PLAIN: dict[str, Callable[[Any], Any]] = {"datetime": _instant, "Decimal": Decimal, "timedelta": _span, "dict[str, str]": _headers}
_READERS: dict[str, Callable[[Any], Any]] = {}


def reader(annotation: str) -> Callable[[Any], Any]:
    """What turns an answer of the engine into what an annotation says."""
    known = _READERS.get(annotation)
    if known is None:
        known = _READERS[annotation] = _make(annotation)
    return known


def _same(value: Any) -> Any:
    return value


def _make(annotation: str) -> Callable[[Any], Any]:
    if annotation.endswith(" | None"):
        inner = reader(annotation.removesuffix(" | None"))
        return _same if inner is _same else lambda value: None if value is None else inner(value)
    if annotation.startswith("list["):
        item = reader(annotation[5:-1])
        return _same if item is _same else lambda values: [item(value) for value in values]
    plain = _PLAIN.get(annotation)
    if plain is not None:
        return plain
    model = globals().get(annotation.removeprefix("models."))
    if isinstance(model, type) and issubclass(model, _Model):
        made: Any = model
        parts = [(f.name, reader(str(f.type))) for f in fields(made)]
        return lambda value: made(*[read(value[name]) for name, read in parts])
    return _same
