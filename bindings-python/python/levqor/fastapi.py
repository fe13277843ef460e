"""Levqor in FastAPI and Starlette: an ASGI middleware, a lifespan, dependencies.

```python
lq = Levqor("sqlite://levqor.db?limits=shm")
app = FastAPI(lifespan=lifespan(lq))
install(app, lq)

@app.post("/run")
async def run(key: Annotated[Key, Depends(require_key(lq, "runs:write"))], _: Annotated[None, Depends(limit(lq, "60/minute", name="runs"))]): ...
```
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from levqor import _native
from levqor.errors import LevqorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    from levqor._native import Decision, Key
    from levqor.engine import Levqor

    Message = MutableMapping[str, Any]
    Asgi = Callable[[Any, Any, Any], Awaitable[None]]

__all__ = ["Middleware", "install", "lifespan", "limit", "problem", "require_key"]


def lifespan(lq: Levqor, *, worker: bool = False, **options: Any) -> Callable[[FastAPI], Any]:
    """Closes the engine with the app; with `worker`, one works in the background meanwhile."""

    @asynccontextmanager
    async def span(app: FastAPI) -> AsyncIterator[None]:
        import asyncio

        if worker:
            await asyncio.to_thread(lq.start, **options)
        try:
            yield
        finally:
            await lq.aclose()

    return span


class Middleware:
    """Security headers on every answer, and the header fields of the limits that were asked."""

    def __init__(self, app: Asgi, preset: str | None = "api") -> None:
        self.app = app
        fields = _native.security_headers(preset) if preset is not None else []
        self.fields = [(name.lower().encode(), value.encode()) for name, value in fields]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def out(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                known = {name.lower() for name, _ in headers}
                headers += [field for field in self.fields if field[0] not in known]
                decision: Decision | None = scope.get("state", {}).get("levqor_decision")
                if decision is not None and b"ratelimit" not in known:
                    headers += [(name.lower().encode(), value.encode()) for name, value in decision.headers().items()]
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, out)


def problem(request: Request, error: Exception) -> Response:
    """The answer for an error: its problem document (RFC 9457), status and headers."""
    assert isinstance(error, LevqorError)
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers.setdefault("Retry-After", str(max(1, -int(-error.retry_after // 1))))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.problem(), error.status, headers, media_type="application/problem+json")


def install(app: FastAPI, lq: Levqor, *, preset: str | None = "api") -> None:
    """Adds the middleware, problem documents and `/health`."""
    app.add_middleware(Middleware, preset=preset)
    app.add_exception_handler(LevqorError, problem)

    async def health() -> Any:
        try:
            await lq.records.aget("health", "probe")
            info = await lq.ainfo()
        except LevqorError as e:
            return JSONResponse({"status": "degraded", "store": {"status": "down", "code": e.code}}, 503)
        return {"status": "ok", "version": info.version, "store": {"status": "ok", "kind": info.store}}

    app.add_api_route("/health", health, include_in_schema=False)


def require_key(lq: Levqor, *scopes: str) -> Callable[[Request], Awaitable[Key]]:
    """A dependency: the API key of the request, with these scopes. 401 or 403."""
    wanted = list(scopes)

    async def checked(request: Request) -> Key:
        import asyncio

        given = (lq._native, request.headers.get("authorization"), request.headers.get("x-api-key"), wanted)
        key = await asyncio.to_thread(_native.key_of, *given) if not lq.is_open else _native.key_of(*given)
        request.state.levqor_key = key
        return key

    return checked


def limit(lq: Levqor, quota: str, *, name: str, by: str | Callable[[Request], str] = "ip", cost: int = 1,
          proxies: tuple[str, ...] = ()) -> Callable[[Request], Awaitable[Decision]]:
    """A dependency: takes from a limit, counted by `ip`, by `key` (after `require_key`), by `all` together, or by what a function says."""
    limiter, trusted = lq.limiter(name, quota), _native.Proxies(list(proxies))

    def count_by(request: Request) -> str:
        if not isinstance(by, str):
            return by(request)
        key = getattr(request.state, "levqor_key", None)
        if by == "all":
            return ""
        if by == "key" and key is not None:
            return str(key.id)
        client = trusted.client(request.client.host if request.client else "", request.headers.get("x-forwarded-for"))
        return client[1] if client is not None else ""

    async def limited(request: Request) -> Decision:
        decision = await limiter.atake(count_by(request), cost)
        request.state.levqor_decision = decision
        return decision.admit()

    return limited
