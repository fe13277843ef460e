"""Pipelines, their runs, jobs, and the connectors that they call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levqor._verb import Room, declared, twin, verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from levqor._types import Amount, Instant, JobState, Json, Span
    from levqor.models import Batch, Enqueued, Job, Output, Pipeline, Queue, QueueCount, Redriven, Registered, Run, Submitted

__all__ = ["Connectors", "Jobs", "Pipelines", "Runs"]


class Runs(Room):
    """Runs of pipelines."""

    __slots__ = ()

    @verb
    def submit(self, account: str, pipeline: Mapping[str, Any] | str, input: Json = {}, *, idempotency_key: str | None = None, hold: Amount | None = None,
               queue: str = "default", priority: int = 100, run_at: Instant | None = None, max_attempts: int = 1) -> Submitted:
        """Accepts a run of a pipeline, or of a registered one by its name: in one commit credits are held and it is enqueued."""
        declared()

    @verb
    def status(self, run: str) -> Run:
        """A run with its steps."""
        declared()

    @verb
    def wait(self, run: str, at_most: Span = 60) -> Run:
        """Waits until a run has ended, at most so long."""
        declared()

    @verb
    def cancel(self, run: str) -> Job:
        """Calls a run off: at once if it waits, at its worker's next heartbeat if it runs."""
        declared()

    @verb
    def redrive(self, run: str) -> Job:
        """Takes a failed run up again where it failed."""
        declared()

    @verb
    def list(self, account: str | None = None, *, state: JobState | None = None, after: str | None = None, limit: int = 50) -> list[Run]:
        """Runs, newest first, without their steps."""
        declared()

    asubmit = twin(submit)
    astatus = twin(status)
    await_ = twin(wait)
    acancel = twin(cancel)
    aredrive = twin(redrive)
    alist = twin(list)


class Jobs(Room):
    """Jobs: enqueue them, look at them, call them off, bring them back; and their queues."""

    __slots__ = ()

    @verb
    def enqueue(self, handler: str, input: Json = {}, *, idempotency_key: str | None = None, options: Mapping[str, Any] | None = None) -> Enqueued:
        """Puts a job for a handler into its queue. Options: `queue`, `account`, `hold`, `priority`, `run_at`, `delay`, `max_attempts`,
        `unique`, `debounce`, `concurrency_key`, `batch`."""
        declared()

    @verb
    def enqueue_many(self, requests_: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None) -> list[Enqueued]:
        """Puts many jobs into their queues, in one commit."""
        declared()

    @verb
    def enqueue_batch(self, members: Sequence[Mapping[str, Any]], *, then: Mapping[str, Any] | None = None, always: bool = False,
                      idempotency_key: str | None = None) -> str:
        """Enqueues jobs that belong together, and one that follows when all of them have ended. Gives the batch's id."""
        declared()

    @verb
    def batch(self, batch_id: str) -> Batch:
        """A batch by its id."""
        declared()

    @verb
    def get(self, job_id: str) -> Job:
        """A job by its id."""
        declared()

    @verb
    def wait(self, job_id: str, at_most: Span = 60) -> Run:
        """Waits until a job has ended, at most so long."""
        declared()

    @verb
    def dead(self, *, after: str | None = None, limit: int = 50) -> list[Job]:
        """The dead letters, newest first."""
        declared()

    @verb
    def counts(self) -> list[QueueCount]:
        """How many jobs stand in each queue and state (done and cancelled ones are not counted)."""
        declared()

    @verb
    def cancel(self, job_id: str) -> Job:
        """Calls a job off."""
        declared()

    @verb
    def redrive(self, job_id: str) -> Job:
        """Puts a dead or cancelled job back to where it failed."""
        declared()

    @verb
    def redrive_all(self, *, queue: str | None = None, account: str | None = None, handler: str | None = None, code: str | None = None,
                    at_most: int = 1000) -> Redriven:
        """Brings the dead letters back that a filter picks and whose error has this code."""
        declared()

    @verb
    def signal(self, job_id: str, name: str, payload: Json | None = None) -> Job:
        """Tells a job something that it waits for, or will wait for."""
        declared()

    @verb
    def pause(self, queue: str) -> None:
        """Takes nothing more from a queue, in all processes."""
        declared()

    @verb
    def resume(self, queue: str) -> None:
        """Takes jobs from a queue again."""
        declared()

    @verb
    def limit(self, queue: str, limits: Mapping[str, Any]) -> None:
        """Gives a queue limits over all workers: `running`, `per_key`, `rate`, `rate_per_key`."""
        declared()

    @verb
    def queues(self) -> list[Queue]:
        """The queues that were told something."""
        declared()

    @verb
    def list(self, *, state: JobState | None = None, queue: str | None = None, account: str | None = None, handler: str | None = None,
             batch: str | None = None, after: str | None = None, limit: int = 50) -> list[Job]:
        """Jobs, newest first."""
        declared()

    aenqueue = twin(enqueue)
    aenqueue_many = twin(enqueue_many)
    aenqueue_batch = twin(enqueue_batch)
    abatch = twin(batch)
    aget = twin(get)
    await_ = twin(wait)
    adead = twin(dead)
    acounts = twin(counts)
    acancel = twin(cancel)
    aredrive = twin(redrive)
    aredrive_all = twin(redrive_all)
    asignal = twin(signal)
    apause = twin(pause)
    aresume = twin(resume)
    alimit = twin(limit)
    aqueues = twin(queues)
    alist = twin(list)


class Pipelines(Room):
    """Pipelines."""

    __slots__ = ()

    @verb
    def check(self, pipeline: Json) -> Pipeline:
        """Checks a pipeline against the engine's connectors; the error holds every fault."""
        declared()

    @verb
    def register(self, pipeline: Json) -> Pipeline:
        """Keeps a pipeline under its name; runs can then be submitted by it."""
        declared()

    @verb
    def list(self, *, after: str | None = None, limit: int = 50) -> list[Registered]:
        """Registered pipelines, by name."""
        declared()

    acheck = twin(check)
    aregister = twin(register)
    alist = twin(list)


class Connectors(Room):
    """What pipelines call, called at once."""

    __slots__ = ()

    @verb
    def call(self, action: str, input: Json = {}, *, connection: str | None = None, idempotency_key: str | None = None, timeout: Span | None = None) -> Output:
        """Carries out one action now: validated, repeated, limited and metered like a step, but nothing is written down."""
        declared()

    @verb
    def manifests(self) -> list[dict[str, Any]]:
        """What connectors are there and what they can do."""
        declared()

    acall = twin(call)
    amanifests = twin(manifests)

    def run_task(self, payload: Mapping[str, Any]) -> Any:
        """Carries out `{"action": .., "input": .., "connection": ..}` and gives its output."""
        rest = {name: payload[name] for name in ("connection", "idempotency_key", "timeout") if payload.get(name) is not None}
        return self.call(str(payload["action"]), payload.get("input", {}), **rest).data
