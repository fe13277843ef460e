"""Jobs and workflows that are written in Python, and operations that happen together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from levqor.errors import Conflict, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from levqor import _native
    from levqor._types import Amount, Instant, Span, Until
    from levqor.engine import Levqor
    from levqor.models import Enqueued

__all__ = ["Atomic", "Handler", "Pending", "Wf", "exponential"]

R = TypeVar("R")
_OPTIONS = frozenset((
    "queue", "account", "hold", "priority", "run_at", "delay", "max_attempts", "unique_for", "unique_key", "debounce",
    "debounce_at_most", "concurrency_key", "batch", "idempotency_key",
))


def exponential(initial: Span = "1s", *, cap: Span = "10m") -> dict[str, Span]:
    """Waits between attempts that double from `initial` up to `cap`, each with some chance in it."""
    return {"initial": initial, "max": cap}


class Wf:
    """The context of a job, for its handler.

    What must not be done twice belongs into a step: a step that is done stays done, however often the handler is
    called again after a crash, an error or a wait.
    """

    def __init__(self, native: _native.Wf, engine: Levqor) -> None:
        self._native = native
        self._engine = engine

    @property
    def id(self) -> str:
        """The job's id."""
        return self._native.id

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._native.attempt

    @property
    def max_attempts(self) -> int:
        """Attempts that the job has."""
        return self._native.max_attempts

    @property
    def account(self) -> str | None:
        """Who pays."""
        return self._native.account

    @property
    def queue(self) -> str:
        """The queue."""
        return self._native.queue

    @property
    def follows(self) -> str | None:
        """The batch that this job follows."""
        return self._native.follows

    @property
    def stopped(self) -> bool:
        """Whether the job was called off, or its lease is lost: then nothing that is written counts any more."""
        return self._native.stopped

    @property
    def engine(self) -> Levqor:
        """The engine, working for the job's tenant."""
        return self._engine.tenant(self._native.tenant)

    @property
    def credits(self) -> WfCredits:
        """Credits, settled for this job."""
        return WfCredits(self)

    def step(self, name: str, make: Callable[..., R], *args: Any, timeout: Span | None = None, attempts: int | None = None,
             backoff: Mapping[str, Span] | None = None, at_most_once: bool = False, **kwargs: Any) -> R:
        """Calls `make(*args, **kwargs)`, or tells what it came to when it was made before.

        What it gives back is plain data. The same name may be used again: the second use is another step.
        """
        options = {"timeout": timeout, "attempts": attempts, "at_most_once": at_most_once, **(backoff or {})}
        done, given = self._native.begin(name, {k: v for k, v in options.items() if v is not None})
        if done:
            return given  # type: ignore[no-any-return]
        ticket = given
        while True:
            value: Any = None
            raised: BaseException | None = None
            try:
                value = _call(make, args, kwargs, timeout, name)
            except BaseException as e:
                raised = e
            if raised is not None and not isinstance(raised, Exception):
                raise raised
            given, wait = self._native.end(ticket, value, raised)
            if wait is None:
                return given  # type: ignore[no-any-return]
            ticket = given
            _nap(wait)

    def sleep(self, name: str, span: Span) -> None:
        """Waits so long. A longer wait outlives the process: the handler is called again when it is over."""
        self._native.sleep(name, span)

    def signal(self, name: str, at_most: Span = "1d") -> Any:
        """Waits for a signal of `lq.jobs.signal`, at most so long; `None` if none came."""
        return self._native.signal(name, at_most)

    def progress(self, progress: Any) -> None:
        """Says how far the job is: any plain data, seen by who looks at the job."""
        self._native.progress(progress)

    def capture(self, amount: Amount) -> None:
        """How much of the job's own hold is due when it ends well; all of it unless this is said."""
        self._native.capture(amount)

    def snooze(self, span: Span) -> None:
        """Puts the job away until later, without using up an attempt."""
        self._native.snooze(span)


class WfCredits:
    """Credits within a job: each operation is a step, so that it happens once."""

    def __init__(self, wf: Wf) -> None:
        self._wf = wf

    def settle(self, hold: str, amount: Amount | None = None) -> None:
        """Captures a hold. A worker that has lost the job's lease meanwhile is refused when the step is written."""
        engine, key = self._wf.engine, f"{self._wf.id}/settle/{hold}"
        self._wf.step(f"settle:{hold}", lambda: engine.credits.capture(hold, amount=amount, idempotency_key=key).id)

    def spend(self, account: str, amount: Amount, *, name: str = "spend") -> str:
        """Spends credits; gives the transaction's id."""
        engine, key = self._wf.engine, f"{self._wf.id}/{name}"
        return self._wf.step(name, lambda: engine.credits.spend(account, amount, idempotency_key=key).id)


def _nap(seconds: float) -> None:
    import time

    time.sleep(seconds)


def _call(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], timeout: Span | None, name: str) -> Any:
    if timeout is None:
        return _finished(make(*args, **kwargs))
    import threading

    ended: list[Any] = []

    def work() -> None:
        try:
            ended.append((True, _finished(make(*args, **kwargs))))
        except BaseException as e:
            ended.append((False, e))

    thread = threading.Thread(target=work, name=f"levqor-step-{name}", daemon=True)
    thread.start()
    thread.join(_seconds(timeout))
    if not ended:
        late = Timeout(f"the step `{name}` has not ended in time", code="job.step_timeout")
        late.effect = "unknown"
        raise late
    well, value = ended[0]
    if well:
        return value
    raise value


def _finished(value: Any) -> Any:
    if hasattr(value, "__await__"):
        import asyncio

        async def wait() -> Any:
            return await value

        return asyncio.run(wait())
    return value


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(span: Span) -> float:
    if isinstance(span, (int, float)):
        return float(span)
    if isinstance(span, str):
        import re

        return sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)\s*(ms|[smhd])", span))
    return span.total_seconds()


def schedule_of(name: str, expression: str, tz: str, misfire: str | int, queue: str, max_attempts: int, jitter: Span | None,
                overlap: str) -> dict[str, Any]:
    """The schedule that starts a handler by a cron expression."""
    schedule: dict[str, Any] = {
        "id": name, "when": {"cron": expression}, "zone": tz, "overlap": overlap,
        "misfire": {"all": misfire} if isinstance(misfire, int) else misfire,
        "target": {"kind": "job", "handler": name, "queue": queue, "max_attempts": max_attempts, "args": {}},
    }
    if jitter is not None:
        schedule["jitter"] = round(_seconds(jitter) * 1000)
    return schedule


class Handler(Generic[R]):
    """A function that does the jobs of a name. It can be called as before, and put into a queue."""

    def __init__(self, engine: Callable[[], Levqor], function: Callable[..., R], name: str | None, options: Mapping[str, Any]) -> None:
        self._engine = engine
        self.function = function
        self.name = name or function.__name__
        self.options = {k: v for k, v in options.items() if v is not None}
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        code = function.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self.takes_wf = bool(names) and names[0] == "wf"
        self.names = names[1:] if self.takes_wf else names
        self._positional = code.co_argcount - self.takes_wf
        self._required = set(self.names[: self._positional - len(function.__defaults__ or ())])

    @property
    def engine(self) -> Levqor:
        """The engine whose jobs it does."""
        return self._engine()

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        return self.function(*args, **kwargs)

    def request(self, args: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
        """The request for a job: arguments of the function by their names, everything else are options of the job."""
        if len(args) > self._positional:
            raise TypeError(f"{self.name}() takes {self._positional} arguments by position, {len(args)} were given")
        values = dict(zip(self.names, args))
        options = dict(self.options)
        for name, value in given.items():
            if name in self.names:
                if name in values:
                    raise TypeError(f"{self.name}() was given {name!r} twice")
                values[name] = value
            elif name in _OPTIONS:
                options[name] = value
            else:
                raise TypeError(f"{self.name}() has no argument and a job no option {name!r}")
        missing = self._required - values.keys()
        if missing:
            raise TypeError(f"{self.name}() needs {', '.join(sorted(missing))}")
        unique_for, unique_key = options.pop("unique_for", None), options.pop("unique_key", None)
        debounce, at_most = options.pop("debounce", None), options.pop("debounce_at_most", None)
        if unique_for is not None or unique_key is not None:
            options["unique"] = {"key": unique_key or self._key(values), **({} if unique_for is None else {"for": unique_for})}
        if debounce is not None:
            options.pop("unique", None)
            options["debounce"] = {"key": unique_key or self.name, "quiet": debounce, **({} if at_most is None else {"at_most": at_most})}
        return {"handler": self.name, "input": values, **{k: v for k, v in options.items() if v is not None}}

    def _key(self, values: Mapping[str, Any]) -> str:
        import json

        plain = {name: value for name, value in values.items() if not isinstance(value, Pending)}
        return f"{self.name}:{json.dumps(plain, sort_keys=True, default=str)}"

    def enqueue(self, *args: Any, **kwargs: Any) -> Enqueued:
        """Puts a job into its queue."""
        name, input, key, options = self._apart(args, kwargs)
        return self.engine.jobs.enqueue(name, input, idempotency_key=key, options=options)

    async def aenqueue(self, *args: Any, **kwargs: Any) -> Enqueued:
        """The same for asyncio."""
        name, input, key, options = self._apart(args, kwargs)
        return await self.engine.jobs.aenqueue(name, input, idempotency_key=key, options=options)

    def enqueue_at(self, at: Instant, *args: Any, **kwargs: Any) -> Enqueued:
        """Puts a job into its queue that is not done before an instant."""
        return self.enqueue(*args, run_at=at, **kwargs)

    def enqueue_in(self, delay: Span, *args: Any, **kwargs: Any) -> Enqueued:
        """Puts a job into its queue that is not done before a span is over."""
        return self.enqueue(*args, delay=delay, **kwargs)

    def _apart(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, Any, str | None, dict[str, Any]]:
        request = self.request(args, kwargs)
        key = request.pop("idempotency_key", None)
        return request.pop("handler"), request.pop("input"), key, request

    def test(self, *args: Any, **kwargs: Any) -> R:
        """Does the job at once, in an engine in memory: for tests. Raises what the job fails with."""
        from levqor.engine import Levqor

        with Levqor("memory://", vendors=False) as engine:
            raised: list[BaseException] = []

            def run(wf: _native.Wf, input: Any) -> Any:
                try:
                    return self.run(wf, input, engine)
                except Exception as e:
                    raised[:] = [e]
                    raise

            engine._native.add_handler(self.name, {"attempts": 1}, run)
            for option in ("account", "hold"):
                kwargs.pop(option, None) if option not in self.names else None
            request = self.request(args, kwargs)
            job = engine.jobs.enqueue(self.name, request["input"], options={"max_attempts": 1})
            engine.worker().drain()
            if raised:
                raise raised[0]
            state = engine.jobs.get(job.id)
            if state.state != "done":
                raise Conflict(f"the job is {state.state}: it waits for something", code="job.not_ended")
            return state.result  # type: ignore[no-any-return]

    def run(self, wf: _native.Wf, input: Any, engine: Levqor) -> Any:
        """What the engine calls."""
        first = (Wf(wf, engine),) if self.takes_wf else ()
        if isinstance(input, dict):
            return _finished(self.function(*first, **input))
        if input is None and not self._required:
            return _finished(self.function(*first))
        return _finished(self.function(*first, input))


class Pending:
    """What an operation of a commit will have come to, when it is committed."""

    def __init__(self, place: int) -> None:
        self._place = place
        self._answer: Any = None

    @property
    def answer(self) -> Any:
        """What it came to."""
        if self._answer is None:
            raise Conflict("nothing is committed yet", code="atomic.not_committed")
        return self._answer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.answer, name)

    def __repr__(self) -> str:
        return f"<Pending {self._answer!r}>"


class AtomicCredits:
    """Operations on credits of a commit."""

    def __init__(self, tx: Atomic) -> None:
        self._tx = tx

    def grant(self, account: str, amount: Amount, **terms: Any) -> Pending:
        """Gives credits to an account."""
        return self._tx._add("LedgerAnswer", op="grant", account=account, amount=amount, **({"terms": terms} if terms else {}))

    def spend(self, account: str, amount: Amount) -> Pending:
        """Spends credits."""
        return self._tx._add("LedgerAnswer", op="spend", account=account, amount=amount)

    def hold(self, account: str, amount: Amount, *, expires: Until | None = None) -> Pending:
        """Reserves credits; what comes back may be given to a job as its argument, and arrives there as the hold's id."""
        return self._tx._add("LedgerAnswer", op="hold", account=account, amount=amount, expires=expires)

    def capture(self, hold: str | Pending, *, amount: Amount | None = None, last: bool = True) -> Pending:
        """Spends from a hold."""
        return self._tx._add("LedgerAnswer", op="capture", hold=hold, amount=amount, last=last)

    def release(self, hold: str | Pending) -> Pending:
        """Gives a hold back."""
        return self._tx._add("LedgerAnswer", op="release", hold=hold)

    def refund(self, txn: str, *, amount: Amount | None = None) -> Pending:
        """Gives back what a spend took."""
        return self._tx._add("LedgerAnswer", op="refund", txn=txn, amount=amount)

    def transfer(self, giver: str, taker: str, amount: Amount) -> Pending:
        """Moves credits to another account."""
        return self._tx._add("LedgerAnswer", op="transfer", giver=giver, taker=taker, amount=amount)


class Atomic:
    """Operations of every kind that happen together or not at all: collected in a `with`, sent in one call at its end.

    No lock is held while your code runs. An exception inside sends nothing.
    """

    def __init__(self, engine: Levqor, idempotency_key: str | None) -> None:
        self._engine = engine
        self._key = idempotency_key
        self._operations: list[dict[str, Any]] = []
        self._pending: list[tuple[Pending, str]] = []
        self.credits = AtomicCredits(self)
        self.replayed = False

    def _add(self, model: str, **operation: Any) -> Pending:
        pending = Pending(len(self._operations))
        self._operations.append({name: _named(value) for name, value in operation.items() if value is not None})
        self._pending.append((pending, model))
        return pending

    def enqueue(self, handler: Handler[Any] | str, *args: Any, **kwargs: Any) -> Pending:
        """Puts a job into its queue."""
        if isinstance(handler, Handler):
            request = handler.request(args, kwargs)
        else:
            options = {name: kwargs.pop(name) for name in list(kwargs) if name in _OPTIONS}
            request = {"handler": handler, "input": args[0] if args else kwargs, **options}
        if request.pop("idempotency_key", None) is not None:
            raise TypeError("the idempotency key of a commit is given to atomic()")
        return self._add("Enqueued", op="enqueue", **request)

    def record(self, kind_of: str, name: str, body: Any) -> Pending:
        """Writes a document."""
        return self._add("", op="record", kind_of=kind_of, name=name, body=body)

    def commit(self) -> None:
        """Carries out everything. Done by the `with`."""
        self._settle(self._engine._commit(self._operations, idempotency_key=self._key))

    async def acommit(self) -> None:
        """The same for asyncio. Done by the `async with`."""
        self._settle(await self._engine._acommit(self._operations, idempotency_key=self._key))

    def _settle(self, done: dict[str, Any]) -> None:
        from levqor.models import reader

        self.replayed = done["replayed"]
        for (pending, model), answer in zip(self._pending, done["answers"]):
            pending._answer = reader(model)(answer) if model else True

    def __enter__(self) -> Atomic:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.commit()

    async def __aenter__(self) -> Atomic:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            await self.acommit()


def _named(value: Any) -> Any:
    if isinstance(value, Pending):
        return {"$op": value._place}
    if isinstance(value, dict):
        return {name: _named(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_named(item) for item in value]
    return value


