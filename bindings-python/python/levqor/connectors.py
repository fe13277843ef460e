"""Connectors that are written in Python: they become what every other connector is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

__all__ = ["Connector", "Context"]

_ANY: dict[str, Any] = {"type": "object"}


class Context:
    """Where a call stands."""

    __slots__ = ("action", "connection", "idempotency_key", "run", "settings", "step", "tenant", "timeout")

    def __init__(self, given: Mapping[str, Any]) -> None:
        connection = given["connection"] or {"name": None, "values": {}}
        self.action: str = given["action"]
        self.tenant: str = given["tenant"]
        self.run: str | None = given["run"]
        self.step: str = given["step"]
        self.idempotency_key: str = given["idempotency_key"]
        self.timeout: float = given["timeout"] / 1000
        self.connection: str | None = connection["name"]
        self.settings: dict[str, Any] = connection["values"]


class Connector:
    """Actions of one vendor, or of the host itself, with their schemas.

    ```python
    crm = Connector("crm", "Customer records")

    @crm.action(input={"type": "object", "properties": {"email": {"type": "string"}}, "required": ["email"]})
    def find(cx, email):
        return {"id": lookup(email)}
    ```
    """

    def __init__(self, name: str, title: str = "", *, description: str = "", docs: str | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.title = title or name
        self.description = description or self.title
        self.docs = docs
        self.settings = dict(settings or {})
        self._actions: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {}

    def action(
        self,
        name: str | None = None,
        *,
        input: Mapping[str, Any] | None = None,
        output: Mapping[str, Any] | None = None,
        side_effect: Literal["read", "write", "destructive"] = "write",
        idempotency: Literal["natural", "key", "input", "none"] = "none",
        title: str | None = None,
        description: str | None = None,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Makes a function an action. It is given the context and the members of the input by name."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            called = name or function.__name__
            about = {
                "name": called, "title": title or called, "description": description or (function.__doc__ or called).strip(),
                "input": dict(input or _ANY), "output": dict(output or {}), "side_effect": side_effect, "idempotency": idempotency,
                "scopes": [],
            }
            self._actions[called] = (about, function)
            return function

        return add

    def manifest(self) -> dict[str, Any]:
        """What it is and what it can do, as data."""
        return {
            "name": self.name, "title": self.title, "description": self.description, "docs": self.docs, "auth": [], "budgets": [],
            "settings": [{"name": name, "description": text} for name, text in self.settings.items()],
            "actions": [about for about, _ in self._actions.values()],
        }

    def answer(self, given: Mapping[str, Any]) -> Any:
        """Carries out one action: what the engine calls."""
        _, function = self._actions[given["action"]]
        answer = function(Context(given), **given["input"])
        if hasattr(answer, "__await__"):
            import asyncio

            async def wait() -> Any:
                return await answer

            return asyncio.run(wait())
        return answer

    def run_task(self, payload: Mapping[str, Any]) -> Any:
        """Carries out `{"action": .., "input": ..}` without an engine: for tests of the function itself."""
        given = {
            "tenant": "default", "run": None, "step": "", "idempotency_key": "task", "timeout": 30_000, "connection": None,
            "input": {}, **payload,
        }
        return self.answer(given)
