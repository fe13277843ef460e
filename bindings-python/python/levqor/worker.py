"""Workers: they take jobs and do them."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from levqor import _native
from levqor.models import WorkerReport

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any

    from typing_extensions import Self

    from levqor.engine import Levqor

__all__ = ["Worker"]

_started: weakref.WeakSet[Worker] = weakref.WeakSet()


class Worker:
    """Takes jobs from queues and does them on the engine's threads, and fires schedules."""

    def __init__(self, engine: Levqor, options: dict[str, Any]) -> None:
        self._engine = engine
        self._native = engine._native.worker(options)

    def start(self) -> Self:
        """Begins to work, and comes back at once. A second time does nothing."""
        self._engine.declare()
        self._native.start()
        _started.add(self)
        return self

    def stop(self) -> WorkerReport | None:
        """Takes nothing more, lets what runs come to its end within the grace, gives the rest back for another worker."""
        _started.discard(self)
        report = self._native.stop()
        return None if report is None else WorkerReport(**report)

    def drain(self) -> WorkerReport:
        """Works until nothing is left that is due."""
        return WorkerReport(**self._native.drain())

    async def adrain(self) -> WorkerReport:
        """The same for asyncio."""
        return WorkerReport(**await self._native.adrain())

    @property
    def is_running(self) -> bool:
        """Whether it works."""
        return self._native.is_running

    def run(self) -> WorkerReport | None:
        """Works until SIGTERM or SIGINT, then stops as `stop` does. In the main thread."""
        import signal

        asked = threading.Event()

        def ask(number: int, frame: FrameType | None) -> None:
            asked.set()

        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.start()
            while not asked.wait(0.2) and self.is_running:
                pass
            return self.stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


_paused: list[Worker] = []


def before_fork() -> None:
    """Stops what works, so that a child inherits no leases and no open store."""
    _paused[:] = list(_started)
    for worker in _paused:
        worker._native.stop()


def after_fork() -> None:
    """Goes on, on both sides. The store is opened in a thread: a fork must not wait for it."""
    again, _paused[:] = list(_paused), []
    for worker in again:
        threading.Thread(target=worker.start, name="levqor-start", daemon=True).start()
