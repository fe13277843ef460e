"""API keys, and webhooks of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levqor._verb import Room, declared, twin, verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from levqor._types import Json, Names, Span, Until
    from levqor.models import ApiKey, Event, KeyInfo

__all__ = ["Keys", "Webhooks"]


class Keys(Room):
    """API keys. Only hashes are kept; a malformed key is refused without asking the store."""

    __slots__ = ()

    @verb
    def create(self, name: str, *, account: str | None = None, scopes: Names = (), limit: str | None = None, expires: Until | None = None,
               metadata: Mapping[str, Any] | None = None) -> ApiKey:
        """Makes a key. Its text is in the answer and nowhere else."""
        declared()

    @verb
    def verify(self, text: str, *, scopes: Names = ()) -> KeyInfo:
        """The key of a text, if it may pass and has the scopes. Raises `Unauthorized` or `ScopeMissing`."""
        declared()

    @verb
    def rotate(self, key_id: str, *, overlap: Span = 86400) -> ApiKey:
        """Gives a key a new text; the one before passes for so long."""
        declared()

    @verb
    def revoke(self, key_id: str) -> KeyInfo:
        """Refuses a key from now on: here at once, in other processes within a second."""
        declared()

    @verb
    def get(self, key_id: str) -> KeyInfo:
        """A key by its id."""
        declared()

    @verb
    def flush(self) -> None:
        """Writes down when keys were used last. Done from time to time by itself."""
        declared()

    @verb
    def list(self, account: str | None = None, *, ended: bool = False, after: str | None = None, limit: int = 50) -> list[KeyInfo]:
        """Keys of an account, or all; with `ended` also those that are expired or revoked."""
        declared()

    acreate = twin(create)
    averify = twin(verify)
    arotate = twin(rotate)
    arevoke = twin(revoke)
    aget = twin(get)
    aflush = twin(flush)
    alist = twin(list)


class Webhooks(Room):
    """Webhooks of others: proved, and worked on once."""

    __slots__ = ()

    @verb
    def names(self) -> list[str]:
        """The names of the webhooks the engine was made with."""
        declared()

    @verb
    def verify(self, name: str, headers: Sequence[tuple[str, str]], body: bytes) -> Event:
        """Proves a message, without a guard against replays. Raises `WebhookRejected`."""
        declared()

    @verb
    def begin(self, name: str, headers: Sequence[tuple[str, str]], body: bytes) -> dict[str, Any]:
        """Proves a message, and says whether to work on it: yes if there is a `token`. Then `finish` or `abandon` it."""
        declared()

    @verb
    def finish(self, delivery_: Mapping[str, Any], *, outcome: Json | None = None) -> None:
        """The work is done: the message is never worked on again."""
        declared()

    @verb
    def abandon(self, delivery_: Mapping[str, Any]) -> None:
        """The work failed: the vendor's next try begins it anew."""
        declared()

    @verb
    def sign(self, name: str, id: str, body: bytes) -> list[tuple[str, str]]:
        """Signs a message as the vendor would: for tests."""
        declared()

    anames = twin(names)
    averify = twin(verify)
    abegin = twin(begin)
    afinish = twin(finish)
    aabandon = twin(abandon)
    asign = twin(sign)
