"""Limits: by the names of policies, or with a quota at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levqor._verb import Room, twin, verb

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
        raise NotImplementedError

    @verb
    def peek(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """What `take` would say, without taking."""
        raise NotImplementedError

    @verb
    def penalty(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Takes what the call costs even if it does not fit. The debt is bounded at one full quota."""
        raise NotImplementedError

    @verb
    def reward(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Gives what the call costs back. Never below nothing used."""
        raise NotImplementedError

    @verb
    def reset(self, who: Who, *, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Forgets what the caller used, and lifts its blocks."""
        raise NotImplementedError

    @verb
    def block(self, who: Who, span: Span, *, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Refuses the caller for a time, under every policy asked."""
        raise NotImplementedError

    @verb
    def unblock(self, who: Who, *, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Lifts a block."""
        raise NotImplementedError

    @verb
    def wait(self, who: Who, at_most: Span, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Decision:
        """Takes, and waits until the call may go on, if that is no longer than `at_most`."""
        raise NotImplementedError

    @verb
    def acquire(self, who: Who, *, cost: int = 1, tier: str | None = None, only: Names | None = None, quotas: Mapping[str, str] | None = None) -> Permit:
        """Takes a place among the calls in flight; `with` gives it back. Raises `RateLimited`."""
        raise NotImplementedError

    @verb
    def ask(self, asks: Sequence[Ask]) -> Decision:
        """Decides asks that no policy knows of, in one step."""
        raise NotImplementedError

    @verb
    def policies(self) -> list[Policy]:
        """The policies of the engine."""
        raise NotImplementedError

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
