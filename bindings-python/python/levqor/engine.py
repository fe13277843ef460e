"""The engine: one handle for everything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from levqor import _native
from levqor._verb import Room, declared, twin, verb
from levqor.access import Keys, Webhooks
from levqor.credits import Credits
from levqor.integrity import Integrity
from levqor.limits import Limits
from levqor.records import Records
from levqor.runs import Connectors, Jobs, Pipelines, Runs
from levqor.schedules import Schedules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from levqor._types import Span
    from levqor.connectors import Connector
    from levqor.handlers import Atomic, Handler
    from levqor.models import ActionStats, Info
    from levqor.worker import Worker

__all__ = ["Engine", "Levqor", "open"]

DEFAULT_URL = "sqlite://levqor.db"


class Engine(Room):
    """How the engine stands."""

    __slots__ = ()

    @verb
    def info(self) -> Info:
        """The engine and its store."""
        declared()

    @verb
    def now(self) -> datetime:
        """The time by the engine's clock."""
        declared()

    @verb
    def stats(self) -> list[ActionStats]:
        """What calls of connectors took."""
        declared()

    @verb
    def metrics(self) -> str:
        """What calls of connectors took, in the text form of Prometheus."""
        declared()

    @verb
    def _events(self) -> _native.Events:
        declared()

    @verb
    def handlers(self) -> list[str]:
        """The names of the handlers of jobs."""
        declared()

    @verb
    def _commit(self, operations: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None) -> dict[str, Any]:
        declared()

    ahandlers = twin(handlers)
    _acommit = twin(_commit)
    ainfo = twin(info)
    anow = twin(now)
    astats = twin(stats)
    ametrics = twin(metrics)
    _aevents = twin(_events)


class Levqor(Engine):
    """The engine of a store. Nothing is opened before the first call; a forked child opens its own.

    `url` is `sqlite://FILE`, `postgres://..` or `memory://`, with `?limits=shm` or `?limits=memory` for limits that
    need no commit; without it, what the environment says in `LEVQOR_URL`, else `sqlite://levqor.db`.
    """

    __slots__ = (
        "__weakref__", "_background", "_crons", "_limiters", "connectors", "credits", "integrity", "jobs", "keys", "limits", "pipelines",
        "records", "runs", "schedules", "webhooks",
    )

    def __init__(
        self,
        url: str | None = None,
        *,
        redis: str | None = None,
        tenant: str = "default",
        limits: str | Mapping[str, str] | None = None,
        submit_limits: Mapping[str, str] | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        connectors: Sequence[Connector] = (),
        allow: Sequence[str] = (),
        vendors: bool = True,
        webhooks: Mapping[str, Any] | None = None,
        key_prefix: str | None = None,
        clock: _native.ManualClock | None = None,
        max_body: int | None = None,
        max_payload: int | None = None,
    ) -> None:
        if limits is not None and not isinstance(limits, str):
            limits = "\n".join(f"{name}: {policy}" for name, policy in limits.items())
        config = {
            "url": url or os.environ.get("LEVQOR_URL") or DEFAULT_URL,
            "redis": redis or os.environ.get("LEVQOR_REDIS_URL") or None,
            "tenant": tenant,
            "limits": limits,
            "submit_limits": dict(submit_limits or {}),
            "connections": {name: dict(values) for name, values in (connections or {}).items()},
            "allow": list(allow),
            "vendors": vendors,
            "webhooks": dict(webhooks or {}),
            "key_prefix": key_prefix,
            "max_body": max_body,
            "max_payload": max_payload,
        }
        native = _native.Engine(config, clock)
        for connector in connectors:
            native.add_connector(connector.manifest(), connector.answer)
        self._attach(native)

    def _attach(self, native: _native.Engine) -> None:
        self._native = native
        self._limiters: dict[tuple[str, str], _native.Limiter] = {}
        self._background: Worker | None = None
        self._crons: list[dict[str, Any]] = []
        self.keys = Keys(native)
        self.webhooks = Webhooks(native)
        self.limits = Limits(native)
        self.credits = Credits(native)
        self.runs = Runs(native)
        self.jobs = Jobs(native)
        self.pipelines = Pipelines(native)
        self.schedules = Schedules(native)
        self.connectors = Connectors(native)
        self.records = Records(native)
        self.integrity = Integrity(native)

    def headers(self, preset: str = "api", *, nonce: str | None = None) -> list[tuple[str, str]]:
        """The security headers of a preset: `api`, `html` or `strict`."""
        return _native.security_headers(preset, nonce)

    def tenant(self, name: str) -> Levqor:
        """The same engine working on another tenant's data."""
        made = Levqor.__new__(Levqor)
        made._attach(self._native.tenant(name))
        return made

    def limiter(self, name: str, quota: str) -> _native.Limiter:
        """One limit made ready for many keys: `lq.limiter("runs", "60/minute burst 10").take(key)`."""
        known = self._limiters.get((name, quota))
        if known is None:
            known = self._limiters[name, quota] = self._native.limiter(name, quota)
        return known

    def connector(self, connector: Connector) -> Connector:
        """Adds a connector that is written in Python. Before the first call."""
        self._native.add_connector(connector.manifest(), connector.answer)
        return connector

    def check(self, id: str, **about: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Makes a function a check of every integrity run; see `Integrity.check`."""
        return self.integrity.check(id, **about)

    def job(self, function: Any = None, /, *, name: str | None = None, queue: str | None = None, max_attempts: int | None = None,
            backoff: Mapping[str, Span] | None = None, timeout: Span | None = None, **options: Any) -> Any:
        """Makes a function the handler of the jobs of its name. It stays callable, and gets `.enqueue(..)`, `.enqueue_at`, `.enqueue_in` and `.test`.

        If its first parameter is called `wf`, it is given the context: steps, waits, progress. What it raises is tried
        again while attempts are left; `GiveUp` and errors of ours that say so are not.
        """
        from levqor.handlers import Handler

        def add(function: Callable[..., Any]) -> Handler[Any]:
            handler = Handler(lambda: self, function, name, {"queue": queue, **options})
            self.add_handler(handler, {"attempts": max_attempts, "timeout": timeout, **(backoff or {})})
            return handler

        return add if function is None else add(function)

    def add_handler(self, handler: Handler[Any], retry: Mapping[str, Any]) -> None:
        """Lets this engine's workers do the jobs of a handler."""
        given = {key: value for key, value in retry.items() if value is not None}
        self._native.add_handler(handler.name, given, lambda wf, input: handler.run(wf, input, self))

    def workflow(self, name: str | None = None, /, **options: Any) -> Any:
        """The same for a function of the context: `def onboard(wf, email): user = wf.step("create", create_user, email)`."""
        if callable(name):
            return self.job(name, **options)
        return self.job(name=name, **options)

    def cron(self, expression: str, *, tz: str = "UTC", misfire: str | int = "once", name: str | None = None, queue: str = "default",
             max_attempts: int = 1, jitter: Span | None = None, overlap: str = "skip") -> Any:
        """Does a function by a cron expression, once over all processes. Declared in the store when a worker starts."""

        def add(function: Callable[..., Any]) -> Any:
            from levqor.handlers import schedule_of

            handler = self.job(function, name=name, queue=queue)
            self._crons.append(schedule_of(handler.name, expression, tz, misfire, queue, max_attempts, jitter, overlap))
            return handler

        return add

    def declare(self) -> None:
        """Puts the schedules of `cron` into the store. Safe to repeat; a worker does it when it starts."""
        for schedule in self._crons:
            self.schedules.put(schedule)

    def atomic(self, idempotency_key: str | None = None) -> Atomic:
        """Operations that happen together or not at all: `with lq.atomic() as tx: tx.credits.hold(..); tx.enqueue(..)`."""
        from levqor.handlers import Atomic

        return Atomic(self, idempotency_key)

    def worker(
        self,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int | None = None,
        lease: Span | None = None,
        grace: Span | None = None,
        poll: Span | None = None,
        schedules: bool | None = None,
    ) -> Worker:
        """A worker, not started: takes jobs from queues and does them, and fires schedules."""
        from levqor.worker import Worker

        options = {
            "queues": None if queues is None else list(queues), "concurrency": concurrency, "lease": lease, "grace": grace,
            "poll": poll, "schedules": schedules,
        }
        return Worker(self, {name: value for name, value in options.items() if value is not None})

    def start(self, **options: Any) -> Worker:
        """A worker in the background of this process; a second time gives the first one. It is started anew in a forked child."""
        if self._background is None:
            self._background = self.worker(**options)
        return self._background.start()

    def stop(self) -> None:
        """Stops the worker in the background."""
        background, self._background = self._background, None
        if background is not None:
            background.stop()

    def events(self, at_most: float | None = None) -> Iterator[dict[str, Any]]:
        """What happens to runs in this process from now on; ends when nothing came for `at_most` seconds."""
        events = self._events()
        return iter(lambda: events.next(at_most), None)

    async def aevents(self, at_most: float | None = None) -> AsyncIterator[dict[str, Any]]:
        """The same for `async for`."""
        events = await self._aevents()
        while (event := await events.anext(at_most)) is not None:
            yield event

    @property
    def is_open(self) -> bool:
        """Whether the store is open in this process."""
        return self._native.is_open

    def close(self) -> None:
        """Stops the worker and lets go of the store. The next call opens it anew; closing twice is no fault."""
        self.stop()
        self._native.close()

    async def aclose(self) -> None:
        """The same for asyncio."""
        import asyncio

        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Levqor {self._native!r}>"


def open(url: str | None = None, **options: Any) -> Levqor:
    """The engine of a store: the same as `Levqor(url, ..)`."""
    return Levqor(url, **options)
