"""What the operator decides about scheduling."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Settings:
    """Configuration of the core; the supervisor builds it from the tables of ``gflow.toml``."""

    #: Limit of jobs that name none, enforced like their own; None: they may run for ever.
    default_time_limit_s: float | None = None
    #: A blocked job that waited this long for jobs without limits gets everything it waits for.
    starvation_after_s: float = 3600.0
    #: Candidates tried behind the highest blocked job in one pass.
    backfill_depth: int = 250
    #: Jobs started in one turn at most; more are started in the next.
    starts_per_turn: int = 8
    #: Dependants, timers and purged records looked at in one turn at most.
    steps_per_turn: int = 128
    #: SIGTERM to SIGKILL, for jobs that name no grace period.
    grace_period_s: float = 10.0
    #: First back-off after a launch failed for want of something; doubled up to the maximum.
    launch_backoff_s: float = 1.0
    launch_backoff_max_s: float = 60.0
    #: Finished jobs stay in memory this long, and at most so many.
    keep_finished_s: float = 3600.0
    keep_finished: int = 10_000
    #: Largest number of tasks of one array.
    array_tasks_max: int = 1_000_000
    #: "sequential", "random" (by job id) or "packed" (keep wide sets of cards free).
    gpu_strategy: str = "sequential"
    #: Groups of cards that are close to each other: ((0, 1), (2, 3)).
    gpu_topology: tuple[tuple[int, ...], ...] = ()
    #: Points per unit of priority, for a user without use, and per hour of waiting.
    priority_weight: float = 1000.0
    fair_share_weight: float = 900.0
    project_share_weight: float = 0.0
    age_weight: float = 10.0
    #: Quotas of the configuration: (scope, name, limits); see :mod:`gflow.scheduling.quota`.
    quotas: tuple[tuple[str, str, tuple[tuple[str, float], ...]], ...] = ()
    #: Use counts half after this long.
    fair_share_half_life_s: float = 7 * 86400.0
    #: What one gpu-second counts in cpu-seconds.
    gpu_cost: float = 16.0
