"""Levqor in Flask: `lq = Levqor()`, then `lq.init_app(app)`.

Configuration, all optional: `LEVQOR_URL`, `LEVQOR_REDIS_URL`, `LEVQOR_LIMITS` (policies by name), `LEVQOR_WEBHOOKS` (secrets by
name), `LEVQOR_CONNECTIONS`, `LEVQOR_ALLOW`, `LEVQOR_TRUSTED_PROXIES` (networks), `LEVQOR_HEADERS` (`api`, `html`, `strict` or None),
`LEVQOR_RATELIMIT_HEADERS` (`all`, `legacy`, `standard`, `none`), `LEVQOR_DEFAULT_LIMIT`, `LEVQOR_MAX_BODY` (bytes), `LEVQOR_HEALTH`
and `LEVQOR_METRICS` (paths, or None), `LEVQOR_OPS` (a path, or None), `LEVQOR_OPS_AUTH`, `LEVQOR_EVIDENCE` (a folder).
"""

from __future__ import annotations

import time
import weakref
from bisect import bisect_left
from functools import wraps
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app, g, has_app_context, jsonify, request
from werkzeug.exceptions import HTTPException

from levqor import _native
from levqor import engine as core
from levqor.errors import LevqorError, Storage, Timeout, Unauthorized, Unavailable
from levqor.handlers import Handler, exponential, schedule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal, TypeVar

    from levqor._types import Ask
    from levqor.access import Keys, Webhooks
    from levqor.credits import Credits
    from levqor.handlers import Atomic
    from levqor.integrity import Integrity
    from levqor.limits import Limits
    from levqor.records import Records
    from levqor.runs import Connectors, Jobs, Pipelines, Runs
    from levqor.schedules import Schedules
    from levqor.worker import Worker

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Levqor", "backoff", "problem"]

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the buckets of a request's time, in seconds."""


class backoff:
    """Waits between attempts."""

    exponential = staticmethod(exponential)


class Request:
    """What is known of a request: `g.levqor`."""

    __slots__ = ("decision", "degraded", "key", "nonce", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.key: _native.Key | None = None
        self.decision: _native.Decision | None = None
        self.degraded = False
        self.nonce: str | None = None

    @property
    def account(self) -> str:
        """The account of the request's API key."""
        if self.key is None or self.key.account is None:
            raise Unauthorized("the request has no API key of an account", code="key.missing")
        return self.key.account


class State:
    """What belongs to one app: `app.extensions["levqor"]`."""

    def __init__(self, app: Flask) -> None:
        config = app.config
        self.engine = core.Levqor(
            config.get("LEVQOR_URL"), redis=config.get("LEVQOR_REDIS_URL"), limits=config.get("LEVQOR_LIMITS"),
            webhooks=config.get("LEVQOR_WEBHOOKS"), connections=config.get("LEVQOR_CONNECTIONS"), allow=config.get("LEVQOR_ALLOW", ()),
        )
        self.proxies = _native.Proxies(list(config.get("LEVQOR_TRUSTED_PROXIES", ())))
        self.preset: str | None = config.get("LEVQOR_HEADERS", "api")
        self.style = config.get("LEVQOR_RATELIMIT_HEADERS", "all")
        self.fixed = _native.security_headers("api") if self.preset == "api" else None
        self.limiters: dict[tuple[str, str], _native.Limiter] = {}
        self.local: dict[tuple[str, str], _native.Limiter] = {}
        self.down_until = 0.0
        self.counts = [0] * (len(BUCKETS) + 1)
        self.statuses: dict[int, int] = {}
        self.seconds = 0.0

    def limiter(self, name: str, quota: str) -> _native.Limiter:
        known = self.limiters.get((name, quota))
        if known is None:
            known = self.limiters[name, quota] = self.engine.limiter(name, quota)
        return known

    def fallback(self, name: str, quota: str) -> _native.Limiter:
        """The limit of this process alone, for when the store is down."""
        known = self.local.get((name, quota))
        if known is None:
            known = self.local[name, quota] = core.Levqor("memory://", vendors=False).limiter(name, quota)
        return known

    def security(self, nonce: str | None) -> Sequence[Sequence[str]]:
        if self.preset is None:
            return ()
        if nonce is not None and self.preset == "api":
            return _native.security_headers("html", nonce)
        return self.fixed or _native.security_headers(self.preset, nonce)


def problem(error: LevqorError) -> Response:
    """The answer for an error: its problem document (RFC 9457), status and headers."""
    response = jsonify(error.problem())
    response.status_code = error.status
    response.mimetype = "application/problem+json"
    response.headers.extend(error.headers)
    if error.retry_after is not None and "Retry-After" not in response.headers:
        response.headers["Retry-After"] = str(max(1, -int(-error.retry_after // 1)))
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


class Levqor:
    """The extension. Several apps may share one; each has an engine of its own, opened with its first call."""

    def __init__(self, app: Flask | None = None) -> None:
        self._apps: weakref.WeakSet[Flask] = weakref.WeakSet()
        self._handlers: list[tuple[Handler[Any], dict[str, Any]]] = []
        self._crons: list[dict[str, Any]] = []
        self._checks: list[tuple[str, dict[str, Any], Any]] = []
        self._connectors: list[Any] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Puts the engine, headers, limits, error answers, health, metrics and commands into an app. Opens nothing."""
        state = State(app)
        app.extensions["levqor"] = state
        self._apps.add(app)
        for connector in self._connectors:
            state.engine.connector(connector)
        for handler, retry in self._handlers:
            state.engine.add_handler(_in_app(app, handler), retry)
        state.engine._crons.extend(self._crons)
        for id, about, function in self._checks:
            state.engine.check(id, **about)(function)
        if app.config.get("LEVQOR_MAX_BODY") is not None:
            app.config["MAX_CONTENT_LENGTH"] = app.config["LEVQOR_MAX_BODY"]
        app.before_request(_begin)
        app.after_request(_end)
        app.register_error_handler(LevqorError, problem)
        app.register_error_handler(HTTPException, _http)
        app.jinja_env.globals["csp_nonce"] = nonce
        health, metrics, ops = (app.config.get(name, default) for name, default in (
            ("LEVQOR_HEALTH", "/health"), ("LEVQOR_METRICS", "/metrics"), ("LEVQOR_OPS", None)))
        if health:
            app.add_url_rule(health, "levqor_health", _health)
        if metrics:
            app.add_url_rule(metrics, "levqor_metrics", _metrics)
        if ops:
            from levqor.flask.ops import blueprint

            app.register_blueprint(blueprint(app.config.get("LEVQOR_OPS_AUTH")), url_prefix=ops)
        from levqor.flask.commands import group

        app.cli.add_command(group(self))

    @property
    def engine(self) -> core.Levqor:
        """The engine of the app at work; outside of one, of the only app there is."""
        if has_app_context():
            state = current_app.extensions.get("levqor")
        else:
            apps = list(self._apps)
            state = apps[0].extensions["levqor"] if len(apps) == 1 else None
        if state is None:
            raise RuntimeError("there is no app: call init_app(app), and work inside `with app.app_context():`")
        engine: core.Levqor = state.engine
        return engine

    if TYPE_CHECKING:
        credits: Credits
        limits: Limits
        keys: Keys
        webhooks: Webhooks
        runs: Runs
        jobs: Jobs
        pipelines: Pipelines
        schedules: Schedules
        connectors: Connectors
        records: Records
        integrity: Integrity
    else:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            return getattr(self.engine, name)

    def atomic(self, idempotency_key: str | None = None) -> Atomic:
        """Operations that happen together or not at all."""
        return self.engine.atomic(idempotency_key)

    def start(self, **options: Any) -> Worker:
        """A worker in the background of this process."""
        return self.engine.start(**options)

    def worker(self, **options: Any) -> Worker:
        """A worker, not started."""
        return self.engine.worker(**options)

    def job(self, function: Any = None, /, *, name: str | None = None, max_attempts: int | None = None,
            backoff: Mapping[str, Any] | None = None, timeout: Any = None, **options: Any) -> Any:
        """Makes a function the handler of the jobs of its name; it is called inside the app's context."""

        def add(function: Callable[..., Any]) -> Handler[Any]:
            handler = Handler(lambda: self.engine, function, name, options)
            retry = {"attempts": max_attempts, "timeout": timeout, **(backoff or {})}
            self._handlers.append((handler, retry))
            for app in self._apps:
                app.extensions["levqor"].engine.add_handler(_in_app(app, handler), retry)
            return handler

        return add if function is None else add(function)

    def workflow(self, name: str | None = None, /, **options: Any) -> Any:
        """The same for a function of the context, `wf`."""
        return self.job(name, **options) if callable(name) else self.job(name=name, **options)

    def cron(self, expression: str, *, tz: str = "UTC", misfire: str | int = "once", name: str | None = None, queue: str = "default",
             max_attempts: int = 1, jitter: Any = None, overlap: str = "skip") -> Any:
        """Does a function by a cron expression, once over all processes."""

        def add(function: Callable[..., Any]) -> Handler[Any]:
            handler: Handler[Any] = self.job(function, name=name, queue=queue)
            schedule = schedule_of(handler.name, expression, tz, misfire, queue, max_attempts, jitter, overlap)
            self._crons.append(schedule)
            for app in self._apps:
                app.extensions["levqor"].engine._crons.append(schedule)
            return handler

        return add

    def connector(self, connector: Any) -> Any:
        """Adds a connector that is written in Python."""
        self._connectors.append(connector)
        for app in self._apps:
            app.extensions["levqor"].engine.connector(connector)
        return connector

    def check(self, id: str, **about: Any) -> Callable[[F], F]:
        """Makes a function a check of every integrity run."""

        def add(function: F) -> F:
            self._checks.append((id, about, function))
            for app in self._apps:
                app.extensions["levqor"].engine.check(id, **about)(function)
            return function

        return add

    def limit(self, quota: str | Callable[[], str], *, by: str | Callable[[], str] = "ip", name: str | None = None,
              cost: int | Callable[[], int] = 1, exempt_when: Callable[[], bool] | None = None,
              deduct_when: Callable[[Response], bool] | None = None,
              on_storage_error: Literal["local", "open", "closed"] = "local") -> Callable[[F], F]:
        """Limits a view: `60/minute burst 10`. Counted by `ip`, by `key` (the API key, or else the address), by `all` together, or
        by what a function says. With `deduct_when` it is decided after the answer whether the call counts."""

        def decorate(view: F) -> F:
            called = name or view.__name__

            @wraps(view)
            def limited(*args: Any, **kwargs: Any) -> Any:
                if exempt_when is not None and exempt_when():
                    return view(*args, **kwargs)
                about: Request = g.levqor
                text = quota if isinstance(quota, str) else quota()
                units = cost if isinstance(cost, int) else cost()
                key = _count_by(about, by)
                if deduct_when is None:
                    decision = _take(about, called, text, key, units, on_storage_error)
                    if decision is not None:
                        about.decision = decision
                        decision.admit()
                    return view(*args, **kwargs)
                ask: Ask = {"name": called, "key": key, "quota": text, "cost": units, "op": "peek"}
                about.decision = about.state.engine.limits.ask([ask]).admit()
                response = current_app.make_response(view(*args, **kwargs))
                if deduct_when(response):
                    about.decision = about.state.engine.limits.ask([{**ask, "op": "penalty"}])
                return response

            return limited  # type: ignore[return-value]

        return decorate

    def policies(self, *names: str, cost: int = 1, tier: Callable[[], str | None] | None = None) -> Callable[[F], F]:
        """Limits a view by policies of `LEVQOR_LIMITS`, all of them in one decision."""

        def decorate(view: F) -> F:
            @wraps(view)
            def limited(*args: Any, **kwargs: Any) -> Any:
                about: Request = g.levqor
                who: dict[str, str] = {}
                client = _client(about)
                if client is not None:
                    who["ip"] = client[0]
                if about.key is not None:
                    who["key"] = about.key.id
                    who["user"] = about.key.account or about.key.id
                about.decision = about.state.engine.limits.take(who, cost=cost, tier=tier() if tier else None, only=names or None).admit()
                return view(*args, **kwargs)

            return limited  # type: ignore[return-value]

        return decorate

    def require_key(self, view: Any = None, /, *, scopes: Sequence[str] = ()) -> Any:
        """Lets a view be called with an API key only: `Authorization: Bearer ..` or `X-Api-Key`. 401, or 403 without the scopes."""
        wanted = list(scopes)

        def decorate(view: F) -> F:
            @wraps(view)
            def checked(*args: Any, **kwargs: Any) -> Any:
                about: Request = g.levqor
                env = request.environ
                about.key = _native.key_of(about.state.engine._native, env.get("HTTP_AUTHORIZATION"), env.get("HTTP_X_API_KEY"), wanted)
                return view(*args, **kwargs)

            return checked  # type: ignore[return-value]

        return decorate if view is None else decorate(view)

    def webhook(self, name: str) -> Callable[[F], F]:
        """Makes a view the receiver of a webhook: it is given the event, proved by its signature, once however often it comes."""

        def decorate(view: F) -> F:
            @wraps(view)
            def received(*args: Any, **kwargs: Any) -> Any:
                from levqor.models import reader

                webhooks = self.engine.webhooks
                delivery = webhooks.begin(name, list(request.headers.items()), request.get_data(cache=True))
                if delivery["token"] is None:
                    outcome = delivery["outcome"] or {}
                    return outcome.get("body", ""), outcome.get("status", 200)
                try:
                    response = current_app.make_response(view(reader("Event")(delivery["event"]), *args, **kwargs))
                except BaseException:
                    webhooks.abandon(delivery)
                    raise
                if response.status_code >= 400:
                    webhooks.abandon(delivery)
                else:
                    webhooks.finish(delivery, outcome={"status": response.status_code, "body": response.get_data(as_text=True)[:4096]})
                return response

            return received  # type: ignore[return-value]

        return decorate

    def spend(self, amount: Any, *, account: Callable[[], str] | None = None) -> Callable[[F], F]:
        """Lets a view cost credits of the key's account: held before it, captured if it answers well (below 400), else released."""

        def decorate(view: F) -> F:
            @wraps(view)
            def paid(*args: Any, **kwargs: Any) -> Any:
                credits = self.engine.credits
                owner = account() if account is not None else g.levqor.account
                due = amount() if callable(amount) else amount
                hold = credits.hold(owner, due, expires="10m", idempotency_key=_key_of_request("hold"))
                try:
                    response = current_app.make_response(view(*args, **kwargs))
                except BaseException:
                    credits.release(hold.id)
                    raise
                if response.status_code < 400:
                    credits.capture(hold.id)
                else:
                    credits.release(hold.id)
                return response

            return paid  # type: ignore[return-value]

        return decorate

    def validate(self, schema: Mapping[str, Any]) -> Callable[[F], F]:
        """Refuses a body that does not fit a JSON Schema (422, with every fault)."""
        ready = _native.Schema(dict(schema))

        def decorate(view: F) -> F:
            @wraps(view)
            def checked(*args: Any, **kwargs: Any) -> Any:
                ready.check(request.get_json())
                return view(*args, **kwargs)

            return checked  # type: ignore[return-value]

        return decorate


def _key_of_request(what: str) -> str | None:
    key = request.headers.get("Idempotency-Key")
    return f"{what}:{request.path}:{key}" if key else None


def _in_app(app: Flask, handler: Handler[Any]) -> Handler[Any]:
    """The handler inside the app's context."""
    function = handler.function

    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with app.app_context():
            return function(*args, **kwargs)

    made = object.__new__(Handler)
    made.__dict__.update(handler.__dict__)
    made.function = inside
    return made


def _client(about: Request) -> tuple[str, str] | None:
    return about.state.proxies.client(request.environ.get("REMOTE_ADDR", ""), request.environ.get("HTTP_X_FORWARDED_FOR"))


def _count_by(about: Request, by: str | Callable[[], str]) -> str:
    if not isinstance(by, str):
        return by()
    if by == "all":
        return ""
    if by == "key" and about.key is not None:
        return about.key.id
    client = _client(about)
    return client[1] if client is not None else ""


def _take(about: Request, name: str, quota: str, key: str, cost: int, on_storage_error: str) -> _native.Decision | None:
    state = about.state
    if not state.down_until or time.monotonic() >= state.down_until:
        try:
            return state.limiter(name, quota).take(key, cost)
        except (Storage, Timeout):
            # Others need not wait for it as well.
            state.down_until = time.monotonic() + 1.0
            if on_storage_error == "closed":
                raise
    elif on_storage_error == "closed":
        raise Unavailable("limits cannot be checked at the moment", code="limits.unavailable", retry_after=1.0)
    about.degraded = True
    return None if on_storage_error == "open" else state.fallback(name, quota).take(key, cost)


def nonce() -> str:
    """The nonce of this answer, for its inline scripts and styles."""
    about: Request = g.levqor
    if about.nonce is None:
        import base64
        import os

        about.nonce = base64.b64encode(os.urandom(16)).decode()
    return about.nonce


def _begin() -> None:
    state: State = current_app.extensions["levqor"]
    g.levqor = Request(state)
    g._levqor_began = time.perf_counter()


def _end(response: Response) -> Response:
    about: Request | None = g.get("levqor")
    if about is None:
        return response
    state, headers = about.state, response.headers
    for name, value in state.security(about.nonce):
        if name not in headers:
            headers[name] = value
    if about.decision is not None:
        for name, value in about.decision.headers(state.style).items():
            headers[name] = value
        if about.degraded:
            headers["X-RateLimit-Degraded"] = "1"
    took = time.perf_counter() - g._levqor_began
    state.counts[bisect_left(BUCKETS, took)] += 1
    state.seconds += took
    state.statuses[response.status_code] = state.statuses.get(response.status_code, 0) + 1
    return response


def _http(error: HTTPException) -> Any:
    """Errors of the framework: problem documents, unless a browser asks for a page."""
    if request.accept_mimetypes.accept_html and request.accept_mimetypes.best == "text/html":
        return error
    code = error.code or 500
    if code < 400:
        return error
    name = error.name.lower().replace(" ", "_")
    made = LevqorError(error.name, code=f"http.{name}", status=code, hint=error.description)
    response = problem(made)
    for field, value in error.get_headers():
        if field.lower() not in ("content-type", "content-length"):
            response.headers.setdefault(field, value)
    return response


def _health() -> Any:
    state: State = current_app.extensions["levqor"]
    start = time.perf_counter()
    try:
        state.engine.records.get("health", "probe")
        info = state.engine.info()
    except LevqorError as e:
        return {"status": "degraded", "store": {"status": "down", "code": e.code}}, 503
    return {
        "status": "ok", "version": info.version, "time": info_time(),
        "store": {"status": "ok", "kind": info.store, "ms": round((time.perf_counter() - start) * 1000, 3)},
    }


def info_time() -> str:
    """Now, RFC 3339."""
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _metrics() -> Response:
    state: State = current_app.extensions["levqor"]
    lines = ["# HELP levqor_http_request_seconds Time of requests.", "# TYPE levqor_http_request_seconds histogram"]
    total = 0
    for end, count in zip((*BUCKETS, "+Inf"), state.counts):
        total += count
        lines.append(f'levqor_http_request_seconds_bucket{{le="{end}"}} {total}')
    lines += [f"levqor_http_request_seconds_sum {state.seconds}", f"levqor_http_request_seconds_count {total}"]
    lines += ["# HELP levqor_http_responses_total Answers by status.", "# TYPE levqor_http_responses_total counter"]
    lines += [f'levqor_http_responses_total{{status="{status}"}} {count}' for status, count in sorted(state.statuses.items())]
    try:
        lines += ["# HELP levqor_jobs Jobs by queue and state.", "# TYPE levqor_jobs gauge"]
        lines += [f'levqor_jobs{{queue="{c.queue}",state="{c.state}"}} {c.count}' for c in state.engine.jobs.counts()]
        text = state.engine.metrics()
    except LevqorError:
        lines += ["# HELP levqor_store_up Whether the store answers.", "# TYPE levqor_store_up gauge", "levqor_store_up 0"]
        text = ""
    return Response("\n".join(lines) + "\n" + text, mimetype="text/plain; version=0.0.4")
