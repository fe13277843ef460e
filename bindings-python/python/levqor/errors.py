"""What can go wrong: one tree of exceptions, by kind and code of the engine's errors.

Every exception has `code` (stable), `status` (HTTP), `retryable`, `retry_after` (seconds), `hint` (what to do),
`at` (where), `errors` (every fault of an input), `headers` (of an HTTP answer), `details` and `docs`.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BadSignature", "Busy", "Cancelled", "ConfigError", "Conflict", "Corrupt", "Duplicate", "FloatAmount", "Forbidden", "ForeignHandle",
    "Full", "GiveUp", "IdempotencyMismatch", "InsufficientCredits", "InternalError", "InvalidInput", "KeyExpired", "KeyInvalid",
    "KeyRevoked", "LeaseLost", "LevqorError", "NotFound", "RateLimited", "Replayed", "SchemaTooNew", "ScopeMissing",
    "Stale", "Storage", "Suspended", "Timeout", "TokenExpired", "TokenInvalid", "Unauthorized", "Unavailable", "Unsupported",
    "WebhookRejected",
]


class LevqorError(Exception):
    """Anything that the engine refuses or cannot do."""

    code: str = "internal"
    status: int = 500
    kind: str = "internal"
    retryable: bool = False
    retry_after: float | None = None
    hint: str | None = None
    at: str | None = None
    effect: str = "none"

    def __init__(self, message: str = "", *, code: str | None = None, status: int | None = None, retryable: bool | None = None,
                 retry_after: float | None = None, hint: str | None = None, at: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        if retryable is not None:
            self.retryable = retryable
        self.retry_after = retry_after
        self.hint = hint
        self.at = at
        self.errors: list[dict[str, str]] = []
        self.headers: dict[str, str] = {}
        self.details: dict[str, Any] = {}
        self.request_id: str | None = None
        self._problem: dict[str, Any] | None = None

    @property
    def message(self) -> str:
        """What was wrong, without place and help."""
        return str(self.args[0]) if self.args else ""

    @property
    def docs(self) -> str:
        """The name of the problem type."""
        return str(self.problem()["type"])

    def problem(self) -> dict[str, Any]:
        """The problem document of RFC 9457."""
        if self._problem is not None:
            return dict(self._problem)
        problem: dict[str, Any] = {
            "type": f"urn:levqor:error:{self.code}", "title": self.message, "status": self.status, "code": self.code,
            "retryable": self.retryable,
        }
        if self.hint:
            problem["detail"] = self.hint
        if self.at:
            problem["at"] = self.at
        if self.retry_after is not None:
            problem["retry_after"] = max(0, -int(-self.retry_after // 1))
        return problem

    @property
    def _document(self) -> dict[str, Any]:
        """The error as the engine stores it: raised in a handler, it keeps its kind and code."""
        wait = None if self.retry_after is None else int(self.retry_after * 1000)
        document: dict[str, Any] = {
            "kind": self.kind, "code": self.code, "message": self.message, "retryable": self.retryable, "effect": self.effect,
        }
        for name, value in (("hint", self.hint), ("at", self.at), ("retry_after", wait)):
            if value is not None:
                document[name] = value
        return document

    def __str__(self) -> str:
        place = f" (at {self.at})" if self.at else ""
        return f"{self.message}{place}" + (f"; {self.hint}" if self.hint else "")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__.copy())


def _again(cls: type[LevqorError], args: tuple[Any, ...], state: dict[str, Any]) -> LevqorError:
    made = cls(*args)
    made.__dict__.update(state)
    return made


class InvalidInput(LevqorError, ValueError):
    """The input is wrong; the same input will always be wrong."""

    kind, code, status = "invalid", "argument.invalid", 422


class FloatAmount(InvalidInput, TypeError):
    """An amount of credits was given as a float."""

    code = "amount.float"


class NotFound(LevqorError, LookupError):
    """The thing asked for does not exist."""

    kind, code, status = "not_found", "not_found", 404


class Conflict(LevqorError):
    """The state does not allow it."""

    kind, code, status = "conflict", "conflict", 409


class IdempotencyMismatch(Conflict):
    """The idempotency key was used for another call."""

    code = "idempotency.mismatch"


class Duplicate(Conflict):
    """It is there already."""


class LeaseLost(Conflict):
    """Somebody else has the job by now: what was to be written is refused."""

    code = "jobs.lease_lost"


class ForeignHandle(Conflict):
    """The database file is open through another library, or was when the process was forked."""

    code = "store.foreign_handle"


class Cancelled(Conflict):
    """It was called off."""

    code = "jobs.cancelled"


class InsufficientCredits(LevqorError):
    """Not enough credits."""

    kind, code, status = "insufficient", "ledger.insufficient_credits", 402


class RateLimited(LevqorError):
    """A limit refused it."""

    kind, code, status, retryable = "rate_limited", "limits.exceeded", 429, True


class Forbidden(LevqorError, PermissionError):
    """Who asks may not do this."""

    kind, code, status = "denied", "denied", 403

    def __str__(self) -> str:
        return LevqorError.__str__(self)


class ScopeMissing(Forbidden):
    """The key has not the scope that is needed."""

    code = "key.scope_missing"


class Unauthorized(Forbidden):
    """Nobody knows who asks: missing, wrong or expired credentials."""

    code, status = "key.missing", 401


class KeyInvalid(Unauthorized):
    """This is no API key."""

    code = "key.invalid"


class KeyExpired(Unauthorized):
    """The API key has expired."""

    code = "key.expired"


class KeyRevoked(Unauthorized):
    """The API key was revoked."""

    code = "key.revoked"


class TokenInvalid(Unauthorized):
    """This is no valid token."""

    code = "token.invalid"


class TokenExpired(Unauthorized):
    """The token has expired."""

    code = "token.expired"


class WebhookRejected(Forbidden):
    """A webhook is not what it says."""

    code, status = "webhook.rejected", 400


class BadSignature(WebhookRejected):
    """No signature of the webhook is right."""


class Stale(WebhookRejected):
    """The webhook's time lies too far from now."""


class Replayed(WebhookRejected):
    """The webhook was taken before."""


class Unsupported(LevqorError, NotImplementedError):
    """This build or backend cannot do it."""

    kind, code, status = "unsupported", "unsupported", 501


class ConfigError(LevqorError):
    """The configuration is wrong."""

    kind, code, status = "config", "config", 500


class Storage(LevqorError):
    """The store, or something else outside, does not do its part."""


class Unavailable(Storage):
    """Something outside is down or overloaded; trying later may help."""

    kind, code, status, retryable = "unavailable", "unavailable", 503, True


class Busy(Unavailable):
    """The store has too much to do at the moment."""

    code = "store.busy"


class Full(Unavailable):
    """There is no room left."""

    code = "store.full"


class Corrupt(Storage):
    """Stored or received data is not what it must be."""

    kind, code, status = "corrupt", "corrupt", 500


class SchemaTooNew(Storage):
    """A newer version of Levqor has migrated the store."""

    code = "store.schema_too_new"


class Timeout(LevqorError, TimeoutError):
    """It took too long."""

    kind, code, status, retryable = "timeout", "timeout", 504, True

    def __str__(self) -> str:
        return LevqorError.__str__(self)


class InternalError(LevqorError):
    """A fault of Levqor's own."""


class GiveUp(Conflict):
    """Raised by a handler: trying again would not help, and the job becomes a dead letter at once."""

    code = "job.gave_up"


class Suspended(BaseException):
    """Ends a handler whose job waits; it is called again later. Let it through."""

    def __init__(self, message: str = "", document: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self._document = document or {"kind": "conflict", "code": "job.suspended", "message": message}


_KINDS: dict[str, type[LevqorError]] = {
    "invalid": InvalidInput, "not_found": NotFound, "conflict": Conflict, "insufficient": InsufficientCredits,
    "rate_limited": RateLimited, "denied": Forbidden, "unsupported": Unsupported, "config": ConfigError,
    "unavailable": Unavailable, "timeout": Timeout, "corrupt": Corrupt, "internal": InternalError,
}
_CODES: dict[str, type[LevqorError]] = {
    "amount.float": FloatAmount, "idempotency.mismatch": IdempotencyMismatch, "jobs.lease_lost": LeaseLost, "job.stopped": LeaseLost, "claims.lost": LeaseLost,
    "journal.settled": LeaseLost, "store.foreign_handle": ForeignHandle, "store.inherited_handle": ForeignHandle, "store.busy": Busy,
    "limits.busy": Busy, "limits.full": Full, "store.full": Full, "store.schema_too_new": SchemaTooNew,
    "key.malformed": KeyInvalid, "key.unknown": KeyInvalid, "key.expired": KeyExpired, "key.revoked": KeyRevoked,
    "key.scope_missing": ScopeMissing, "webhook.signature_invalid": BadSignature, "webhook.too_old": Stale,
    "webhook.from_the_future": Stale, "webhook.timestamp_invalid": Stale,
    "ledger.source_taken": Duplicate, "store.exists": Duplicate, "connector.duplicate": Duplicate, "record.changed": Conflict,
}


_CLASSES: dict[str, type[LevqorError]] = {
    cls.__name__: cls for cls in (*_KINDS.values(), Unauthorized, WebhookRejected)
}


def _of_document(document: dict[str, Any]) -> BaseException:
    """The exception of an error that came out of the engine."""
    code, kind = document["code"], document["kind"]
    if code == "job.suspended":
        return Suspended(document["message"], {name: document[name] for name in ("kind", "code", "message", "hint") if name in document})
    cls = _CODES.get(code) or _CLASSES.get(document.get("class", "")) or _KINDS.get(kind, LevqorError)
    made = cls(document["message"])
    made.code, made.kind, made.status = code, kind, document["status"]
    made.retryable, made.effect = document["retryable"], document.get("effect", "none")
    wait = document.get("retry_after")
    made.retry_after = None if wait is None else wait / 1000
    made.hint, made.at = document.get("hint"), document.get("at")
    made.errors, made.details = document.get("faults", []), document.get("details", {})
    made.headers = {name: value for name, value in document.get("headers", [])}
    made._problem = document["problem"]
    return made
