"""What the configuration makes of this machine: what may be given out, and by which settings."""

from __future__ import annotations

from typing import Any

from gflow.config import Config
from gflow.model.resources import Capacity
from gflow.monitoring import host
from gflow.scheduling.settings import Settings
from gflow.supervisor.card import Cards


def capacity(config: Config, *, asked: bool = False) -> Capacity:
    """What may be given out: what the configuration says, else the machine's.

    ``asked``: there is a driver, which will say which cards there are.
    """
    resources = config["resources"]
    return Capacity(
        cpus=resources["cpus"] or host.cpus(),
        memory_bytes=resources["memory_bytes"] or host.memory_bytes(),
        cards=Cards(config["gpus"], asked=asked).cards({}),
        gres=tuple(sorted(resources["gres"].items())),
    )


def scheduler_settings(config: Config, topology: tuple[tuple[int, ...], ...] = ()) -> Settings:
    """What the configuration says about scheduling.

    ``topology``: cards near each other as the driver has it; groups of the configuration win.
    """
    scheduler, groups = config["scheduler"], config["gpus"]["topology"]
    return Settings(
        default_time_limit_s=scheduler["default_time_limit_s"],
        starvation_after_s=scheduler["starvation_after_s"],
        backfill_depth=scheduler["backfill_depth"],
        grace_period_s=scheduler["grace_period_s"],
        keep_finished_s=scheduler["keep_finished_s"],
        keep_finished=scheduler["keep_finished_count"],
        array_tasks_max=config["limits"]["max_array_tasks"],
        gpu_strategy=config["gpus"]["strategy"],
        gpu_topology=topology if groups is None else tuple(map(tuple, groups)),
        priority_weight=scheduler["priority_weight"],
        fair_share_weight=scheduler["fair_share_weight"],
        project_share_weight=scheduler["project_share_weight"],
        age_weight=scheduler["age_weight"],
        fair_share_half_life_s=scheduler["fair_share_half_life_s"],
        gpu_cost=scheduler["gpu_cost"],
        quotas=_quotas(config["quota"]),
    )


def _quotas(table: dict[str, Any]) -> tuple[tuple[str, str, tuple[tuple[str, float], ...]], ...]:
    """(scope, name, limits) of every subject that the configuration limits."""
    named = [("default_user", "", table["default_user"])]
    named.append(("default_project", "", table["default_project"]))
    named += [("user", name, limits) for name, limits in table["users"].items()]
    named += [("project", name, limits) for name, limits in table["projects"].items()]
    return tuple((scope, name, tuple(limits.items())) for scope, name, limits in named if limits)
