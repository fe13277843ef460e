"""Rate limits, prepaid credits, durable jobs and pipelines as one engine inside your process."""

from __future__ import annotations

import os as _os
from typing import TYPE_CHECKING

from levqor._native import Decision, Limiter, Permit, version
from levqor.engine import Levqor, open
from levqor.errors import (
    Conflict,
    Forbidden,
    InsufficientCredits,
    InvalidInput,
    LevqorError,
    NotFound,
    RateLimited,
    Storage,
    Timeout,
    Unauthorized,
    Unavailable,
    WebhookRejected,
)

if TYPE_CHECKING:
    from typing import Any

    from levqor.connectors import Connector
    from levqor.integrity import Finalizer, IntegrityTester, generate_evidence_report

__all__ = [
    "Conflict", "Connector", "Decision", "Finalizer", "Forbidden", "InsufficientCredits", "IntegrityTester", "InvalidInput", "Levqor",
    "LevqorError", "Limiter", "NotFound", "Permit", "RateLimited", "Storage", "Timeout", "Unauthorized", "Unavailable",
    "WebhookRejected", "__version__", "generate_evidence_report", "open", "version",
]
__version__ = version()

_LATER = {
    "Connector": "connectors", "Finalizer": "integrity", "IntegrityTester": "integrity", "generate_evidence_report": "integrity",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _LATER:
        return getattr(import_module(f"levqor.{_LATER[name]}"), name)
    if name in ("connectors", "errors", "flask", "fastapi", "models", "testing", "worker"):
        return import_module(f"levqor.{name}")
    raise AttributeError(f"module 'levqor' has no attribute {name!r}")


def _before_fork() -> None:
    import sys

    worker = sys.modules.get("levqor.worker")
    if worker is not None:
        worker.before_fork()
    from levqor import _native

    _native.before_fork()


def _after_fork() -> None:
    import sys

    from levqor import _native

    _native.after_fork()
    worker = sys.modules.get("levqor.worker")
    if worker is not None:
        worker.after_fork()


if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
