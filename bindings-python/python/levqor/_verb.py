"""How a verb of the engine becomes a method, and its twin for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from levqor import _native

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Concatenate, Generic, NoReturn, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")
    F = TypeVar("F", bound=Callable[..., Any])

    class Twin(Generic[P, R]):
        """The verb to be awaited: the same arguments, the same answer."""

        def __get__(self, instance: object, owner: type | None = None) -> Callable[P, Awaitable[R]]: ...


class Room:
    """Some of the engine's verbs, as `lq.credits` has those of credits."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.Engine) -> None:
        self._native = native


def _reader(annotation: str) -> Callable[[Any], Any]:
    """Makes the reader of an answer on its first use, so that an import does not pay for the models."""
    read: Callable[[Any], Any] | None = None

    def first(value: Any) -> Any:
        nonlocal read
        if read is None:
            from levqor.models import reader

            read = reader(annotation)
        return read(value)

    return first


def declared() -> NoReturn:
    """Stands where a body would: what a verb does is done by the engine."""
    message = "a verb's own body is never run"
    raise AssertionError(message)


def verb(fn: F) -> F:
    """The method that carries out the verb of its name; the body of what it decorates is never run."""
    index = _native.verb(fn.__qualname__.lower().replace("._", "."))
    read = _reader(fn.__annotations__["return"])

    def call(self: Room, /, *args: Any, **kwargs: Any) -> Any:
        return read(self._native.call(index, args, kwargs))

    made: F = _named(call, fn, "", index, read)
    return made


def twin(fn: Callable[Concatenate[Any, P], R]) -> Twin[P, R]:
    """The same verb to be awaited."""
    index: int = fn._verb  # type: ignore[attr-defined]
    read: Callable[[Any], Any] = fn._read  # type: ignore[attr-defined]

    def acall(self: Room, /, *args: Any, **kwargs: Any) -> Any:
        return self._native.acall(index, args, kwargs, read)

    made: Twin[P, R] = _named(acall, fn, "a", index, read)
    return made


def _named(made: Any, fn: Any, prefix: str, index: int, read: Any) -> Any:
    room, _, name = fn.__qualname__.rpartition(".")
    made.__name__ = prefix + name
    made.__qualname__ = f"{room}.{prefix}{name}"
    made.__module__ = fn.__module__
    made.__doc__ = fn.__doc__
    made.__annotations__ = fn.__annotations__
    made.__wrapped__ = fn
    made._verb = index
    made._read = read
    return made
