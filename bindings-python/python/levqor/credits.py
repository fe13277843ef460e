"""Credits: grant, spend, hold, capture, release, give and take back, move, and what an account is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levqor._verb import Room, declared, twin, verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal
    from typing import Any, Literal

    from levqor._types import Amount, Category, Instant, Money, OnExpired, Overage, Until
    from levqor.models import AuditReport, Balance, Grant, Hold, LedgerAnswer, StatementLine, Totals

__all__ = ["Credits"]


class Credits(Room):
    """Every verb that changes something takes an `idempotency_key`: the same call gives the same answer, and changes nothing more."""

    __slots__ = ()

    @verb
    def grant(self, account: str, amount: Amount, *, priority: int = 100, category: Category = "paid", effective_at: Instant | None = None,
              expires: Until | None = None, booked_at: Instant | None = None, paid: Money | None = None, source: str | None = None,
              idempotency_key: str | None = None) -> LedgerAnswer:
        """Gives credits to an account; the answer's `id` is the grant's."""
        declared()

    @verb
    def spend(self, account: str, amount: Amount, *, idempotency_key: str | None = None) -> LedgerAnswer:
        """Spends credits at once; the answer's `id` is the transaction's, for a refund."""
        declared()

    @verb
    def hold(self, account: str, amount: Amount, *, expires: Until | None = None, idempotency_key: str | None = None) -> LedgerAnswer:
        """Reserves credits; the answer's `id` is the hold's."""
        declared()

    @verb
    def capture(self, hold: str, *, amount: Amount | None = None, last: bool = True, overage: Overage = "reject",
                idempotency_key: str | None = None) -> LedgerAnswer:
        """Spends from a hold, and releases the rest unless `last` is false."""
        declared()

    @verb
    def release(self, hold: str, *, idempotency_key: str | None = None) -> LedgerAnswer:
        """Gives a hold back."""
        declared()

    @verb
    def extend(self, hold: str, until: Until, *, idempotency_key: str | None = None) -> LedgerAnswer:
        """Gives a hold a new end."""
        declared()

    @verb
    def refund(self, txn: str, *, amount: Amount | None = None, on_expired: OnExpired | None = None, idempotency_key: str | None = None) -> LedgerAnswer:
        """Gives back what a spend or a capture took."""
        declared()

    @verb
    def clawback(self, grant: str, refunded: Money, *, idempotency_key: str | None = None) -> LedgerAnswer:
        """Takes back a paid grant because money was paid back; `refunded` is all that ever was."""
        declared()

    @verb
    def transfer(self, giver: str, taker: str, amount: Amount, *, idempotency_key: str | None = None) -> LedgerAnswer:
        """Moves credits to another account."""
        declared()

    @verb
    def overdraft(self, account: str, limit: Amount, *, idempotency_key: str | None = None) -> LedgerAnswer:
        """Sets how far below zero an account may go."""
        declared()

    @verb
    def freeze(self, account: str, frozen: bool = True, *, idempotency_key: str | None = None) -> LedgerAnswer:
        """Lets nothing be drawn from an account any more, or lets it again."""
        declared()

    @verb
    def linked(self, operations: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None) -> list[LedgerAnswer]:
        """Carries out operations that happen together or not at all: `{"op": "spend", "account": .., "amount": ..}`."""
        declared()

    @verb
    def balance(self, account: str) -> Balance:
        """What an account is worth now."""
        declared()

    @verb
    def balance_at(self, account: str, at: Instant, *, by: Literal["booked", "recorded"] = "booked") -> Decimal:
        """What an account was worth at an instant of the past."""
        declared()

    @verb
    def statement(self, account: str, *, since: Instant | None = None, until: Instant | None = None, after: int = 0, limit: int = 100) -> list[StatementLine]:
        """The account's entries, by number, behind number `after`."""
        declared()

    @verb
    def grants(self, account: str, *, used_up: bool = False) -> list[Grant]:
        """The grants of an account of which something is left, or all of them."""
        declared()

    @verb
    def find_hold(self, hold: str) -> Hold:
        """A hold, and what became of it."""
        declared()

    @verb
    def totals(self) -> Totals:
        """What all accounts did together."""
        declared()

    @verb
    def split(self, whole: int, weights: Sequence[int]) -> list[int]:
        """Parts of a whole by weights, to the last unit."""
        declared()

    @verb
    def rollover(self, ending: Amount, overage: Amount, granted: Amount, *, least: Amount, most: Amount) -> Decimal:
        """What an account begins the next period with."""
        declared()

    @verb
    def sweep(self) -> int:
        """Folds in what has begun or run out; says on how many accounts something had."""
        declared()

    @verb
    def audit(self) -> AuditReport:
        """Proves the whole ledger."""
        declared()

    agrant = twin(grant)
    aspend = twin(spend)
    ahold = twin(hold)
    acapture = twin(capture)
    arelease = twin(release)
    aextend = twin(extend)
    arefund = twin(refund)
    aclawback = twin(clawback)
    atransfer = twin(transfer)
    aoverdraft = twin(overdraft)
    afreeze = twin(freeze)
    alinked = twin(linked)
    abalance = twin(balance)
    abalance_at = twin(balance_at)
    astatement = twin(statement)
    agrants = twin(grants)
    afind_hold = twin(find_hold)
    atotals = twin(totals)
    asplit = twin(split)
    arollover = twin(rollover)
    asweep = twin(sweep)
    aaudit = twin(audit)
