"""Limits: by the names of policies, or with a quota at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levqor._verb import Room, declared, twin, verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from levqor._native import Decision, Limiter, Permit
    from levqor._types import Ask, Names, Span, Who
    from levqor.models import Policy

__all__ = ["Limits"]


class Limits(Room):
    """Asks the policies of the engine about a caller, all of them in one step: either all are charged, or none."""

    __slots__ = ()

    @verb
    def take(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Takes what the call costs, if every policy lets it pass."""
        declared()

    @verb
    def peek(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """What `take` would say, without taking."""
        declared()

    @verb
    def penalty(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Takes what the call costs even if it does not fit. The debt is bounded at one full quota."""
        declared()

    @verb
    def reward(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Gives what the call costs back. Never below nothing used."""
        declared()

    @verb
    def reset(self, who: Who, *, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Forgets what the caller used, and lifts its blocks."""
        declared()

    @verb
    def block(self, who: Who, span: Span, *, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Refuses the caller for a time, under every policy asked."""
        declared()

    @verb
    def unblock(self, who: Who, *, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Lifts a block."""
        declared()

    @verb
    def wait(self, who: Who, at_most: Span, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Takes, and waits until the call may go on, if that is no longer than `at_most`."""
        declared()

    @verb
    def acquire(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Permit:
        """Takes a place among the calls in flight; `with` gives it back. Raises `RateLimited`."""
        declared()

    @verb
    def ask(self, asks: Sequence[Ask]) -> Decision:
        """Decides asks that no policy knows of, in one step."""
        declared()

    @verb
    def policies(self) -> list[Policy]:
        """The policies of the engine."""
        declared()

    atake = twin(take)
    apeek = twin(peek)
    apenalty = twin(penalty)
    areward = twin(reward)
    areset = twin(reset)
    ablock = twin(block)
    aunblock = twin(unblock)
    await_ = twin(wait)
    aacquire = twin(acquire)
    aask = twin(ask)
    apolicies = twin(policies)

    def limiter(self, name: str, quota: str) -> Limiter:
        """One limit made ready for many keys: the fastest way to ask."""
        return self._native.limiter(name, quota)
