"""Small documents of the host's own, by kind and name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levqor._verb import Room, declared, twin, verb

if TYPE_CHECKING:
    from levqor._types import Json, Until
    from levqor.models import Record

__all__ = ["Records"]


class Records(Room):
    """Documents with a version to compare and swap on."""

    __slots__ = ()

    @verb
    def get(self, kind_of: str, name: str) -> Record | None:
        """A document, if there is one."""
        declared()

    @verb
    def put(self, kind_of: str, name: str, body: Json, *, version: int | None = None, expires: Until | None = None) -> None:
        """Writes a document; with `version`, only if it has that one now (0: only if there is none)."""
        declared()

    @verb
    def delete(self, kind_of: str, name: str, *, version: int | None = None) -> None:
        """Removes a document."""
        declared()

    @verb
    def list(self, kind_of: str, *, after: str | None = None, limit: int = 50) -> list[Record]:
        """The documents of a kind, by name."""
        declared()

    aget = twin(get)
    aput = twin(put)
    adelete = twin(delete)
    alist = twin(list)
