"""Which unsuccessful ends are tried again, and with what request."""

from __future__ import annotations

from dataclasses import replace

from gflow.model.job import Job, RetryRule, Spec
from gflow.model.resources import Capacity
from gflow.model.state import State

_CAUSES = {
    State.TIMEOUT: "timeout",
    State.OUT_OF_MEMORY: "oom",
    State.NODE_FAIL: "lost",
}


def cause_of(job: Job, state: State) -> str:
    """The retry cause that an end counts as: oom, timeout, lost, exit=N or signal=N."""
    named = _CAUSES.get(state)
    if named is not None:
        return named
    return f"exit={job.exit_code}" if job.exit_code is not None else f"signal={job.signal}"


def rule_for(job: Job, state: State) -> RetryRule | None:
    """The rule that still allows a retry after this end; the exact cause comes before any."""
    if state in (State.COMPLETED, State.CANCELLED):
        return None
    spent = job.retried or {}
    exact = cause_of(job, state)
    for cause in (exact, "any"):
        for rule in job.spec.retries:
            if rule.cause == cause and spent.get(cause, 0) < rule.times:
                return rule
    return None


def spend(job: Job, rule: RetryRule) -> None:
    """Count one retry against its rule."""
    spent = dict(job.retried or {})
    spent[rule.cause] = spent.get(rule.cause, 0) + 1
    job.retried = spent


def delay_s(job: Job) -> float:
    """Back-off before the next attempt: doubled with each retry spent, at most a day."""
    retries = sum((job.retried or {}).values())
    return min(job.spec.retry_delay_s * float(2 ** min(max(retries - 1, 0), 20)), 86400.0)


def scaled(spec: Spec, rule: RetryRule, capacity: Capacity) -> Spec:
    """The spec of the next attempt; never more than the machine has."""
    if not rule.scale:
        return spec
    want = spec.resources
    memory, gpu_memory, cpus = want.memory_bytes, want.gpu_memory_bytes, want.cpus
    limit = spec.time_limit_s
    for name, factor in rule.scale:
        if name == "memory":
            memory = min(round(memory * factor), max(capacity.memory_bytes, memory))
        elif name == "gpu_memory":
            most = max((card.memory_bytes for card in capacity.cards or ()), default=0)
            gpu_memory = min(round(gpu_memory * factor), max(most, gpu_memory))
        elif name == "cpus":
            cpus = min(max(1, round(cpus * factor)), max(capacity.cpus, cpus))
        elif name == "time" and limit is not None:
            limit *= factor
    want = replace(want, memory_bytes=memory, gpu_memory_bytes=gpu_memory, cpus=cpus)
    return replace(spec, resources=want, time_limit_s=limit)
