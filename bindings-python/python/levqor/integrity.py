"""Integrity runs: the checks of a pack and of the host, and the evidence that they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from levqor._verb import Room, declared, twin, verb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from levqor._types import Names
    from levqor.models import CheckInfo, IntegrityReport, Verified

__all__ = ["Finalizer", "Integrity", "IntegrityTester", "generate_evidence_report"]


class Integrity(Room):
    """Checks a system, and proves what was found."""

    __slots__ = ()

    @verb
    def run(self, pack: str | Mapping[str, Any] | None = None, *, select: Names = (), evidence: str | None = None,
            key: str = "levqor-signing-key.pem", formats: Names = ()) -> IntegrityReport:
        """Runs the checks of a pack (a file, or plain data) and the host's own; with `evidence`, a folder, what was found is signed and kept."""
        declared()

    @verb
    def verify(self, folder: str, *, key: str | None = None, head: str | None = None) -> Verified:
        """Finds out whether evidence is what was signed. Works offline."""
        declared()

    @verb
    def diff(self, before: str, now: str) -> dict[str, Any]:
        """Compares the evidence of two runs, by their folders."""
        declared()

    @verb
    def checks(self) -> list[CheckInfo]:
        """The standard checks."""
        declared()

    arun = twin(run)
    averify = twin(verify)
    adiff = twin(diff)
    achecks = twin(checks)

    def check(self, id: str, *, title: str = "", objective: str = "", severity: str = "high", category: str = "custom", group: str = "custom",
              controls: Sequence[str] = (), requires: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Makes a function a check of every run: it passes with `None`, `True` or a text, fails with `False`, raises if it could not tell.

        A dict is taken as the whole outcome: `{"summary": .., "findings": [{"level": "fail", "cause": .., "message": ..}]}`.
        """

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            about = {
                "title": title or id, "objective": objective or (function.__doc__ or "").strip().split("\n")[0], "severity": severity,
                "category": category, "group": group, "controls": list(controls),
            }
            self._native.add_check(id, about, list(requires), lambda context: _outcome(id, _call(function, context)))
            return function

        return add


def _call(function: Callable[..., Any], context: dict[str, Any]) -> Any:
    wanted = function.__code__.co_argcount if hasattr(function, "__code__") else 1
    answer = function(context) if wanted else function()
    if hasattr(answer, "__await__"):
        import asyncio

        async def wait() -> Any:
            return await answer

        return asyncio.run(wait())
    return answer


def _outcome(id: str, answer: Any) -> dict[str, Any]:
    if answer is None or answer is True:
        return {"summary": "as it must be"}
    if isinstance(answer, str):
        return {"summary": answer}
    if answer is False:
        return {"summary": "", "findings": [_finding("fail", f"{id}.failed", "the check says no")]}
    if isinstance(answer, dict):
        findings = [{**_finding("fail", f"{id}.failed", ""), **finding} for finding in answer.get("findings", [])]
        return {"summary": str(answer.get("summary", "")), **answer, "findings": findings}
    raise TypeError(f"a check answers with None, a bool, a str or a dict, not {type(answer).__name__}")


def _finding(level: str, cause: str, message: str) -> dict[str, Any]:
    return {"level": level, "cause": cause, "message": message, "blocks": level == "fail"}


class IntegrityTester:
    """Runs the checks of a pack, with those of the functions that were added to it."""

    def __init__(self, engine: Any = None, pack: str | Mapping[str, Any] | None = None) -> None:
        if engine is None:
            from levqor import Levqor

            engine = Levqor("memory://")
        self.engine = engine
        self.pack = pack

    def check(self, id: str, **about: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Adds a function as a check."""
        made: Callable[[Callable[..., Any]], Callable[..., Any]] = self.engine.integrity.check(id, **about)
        return made

    def run(self, **options: Any) -> IntegrityReport:
        """Runs them."""
        report: IntegrityReport = self.engine.integrity.run(self.pack, **options)
        return report


class Finalizer(IntegrityTester):
    """The same for what has to be true before a release: it raises unless everything passed."""

    def run(self, **options: Any) -> IntegrityReport:
        """Runs them; raises `Conflict` if the system is not ready."""
        return super().run(**options).raise_if_failed()


def generate_evidence_report(folder: str = "evidence", pack: str | Mapping[str, Any] | None = None, *, engine: Any = None, **options: Any) -> IntegrityReport:
    """Runs a pack and keeps signed evidence of it in a folder."""
    return IntegrityTester(engine, pack).run(evidence=folder, **options)
