"""How the supervisor is: the shape of ``status --json``."""

from __future__ import annotations

import os
import time
from typing import Any

import gflow
from gflow.model.resources import Capacity
from gflow.supervisor import card, metric
from gflow.supervisor.reactor import Reactor


def describe(reactor: Reactor) -> dict[str, Any]:
    """Everything that memory knows; asks nobody."""
    scheduler, store = reactor.scheduler, reactor.persister.store
    capacity, free = scheduler.capacity, scheduler.free()
    return {
        "version": gflow.__version__,
        "pid": os.getpid(),
        "uptime_s": round(time.monotonic() - reactor.began_s, 3),
        "state_dir": reactor.folders.state,
        "state_dir_reason": reactor.folders.reason,
        "runtime_dir": reactor.folders.runtime,
        "mode": reactor.config["access"]["mode"],
        "store": {
            "path": store.get("path"),
            "schema": store.get("schema"),
            "filesystem": store.get("filesystem"),
            "network": store.get("network"),
            "clean_shutdown": store.get("clean_shutdown"),
            "warnings": reactor.persister.warnings,
            "durability": reactor.config["persistence"]["durability"],
        },
        "processes": reactor.processes(),
        "loop_gap_ms": reactor.meter.take(),
        "jobs": {state.value: count for state, count in scheduler.counts().items() if count},
        "starts": reactor.tally.started,
        "ends": sum(reactor.tally.ended.values()),
        "events": reactor.feed.last_id,
        "blob_bytes": reactor.blobs.total_bytes,
        "resources": {"total": _total(capacity), "free": free},
        "gpus": cards(reactor),
        "drained": _drained(reactor),
        "config": reactor.config.sources,
    }


def metrics(reactor: Reactor) -> str:
    """The same for monitoring systems, in Prometheus' text format."""
    scheduler = reactor.scheduler
    return metric.page(
        uptime_s=time.monotonic() - reactor.began_s,
        counts=scheduler.counts(),
        tally=reactor.tally,
        loop=reactor.meter.histogram(),
        processes=reactor.processes(),
        total=_total(scheduler.capacity),
        free=scheduler.free(),
        cards=cards(reactor),
    )


def cards(reactor: Reactor) -> list[dict[str, Any]]:
    """The cards, who holds them, and what the driver measured last; unknown is null."""
    holders = card.holders(reactor.scheduler.active())
    return [
        {
            "index": one.index,
            "uuid": one.uuid,
            "name": one.name,
            "memory_bytes": one.memory_bytes or None,
            "unusable": one.unusable,
            "restricted": one.unusable == card.NOT_ALLOWED,
            "ignored_pids": reactor.cards.ignored(one.index),
            "jobs": sorted(holders.get(one.index, ())),
            **_measured(reactor, reactor.cards.figures(one.index)),
        }
        for one in reactor.scheduler.capacity.cards or ()
    ]


def _measured(reactor: Reactor, facts: dict[str, Any]) -> dict[str, Any]:
    names = ("used_bytes", "utilisation", "temperature_c", "power_w")
    processes = [
        {**process, "user": process["uid"] and reactor.directory.name(process["uid"])}
        for process in facts.get("processes", ())
    ]
    return {**{name: facts.get(name) for name in names}, "processes": processes}


def _drained(reactor: Reactor) -> dict[str, Any] | None:
    """Why and by whom nothing is started, or only what ends in time; None: everything is."""
    drained = reactor.scheduler.drained
    if drained is None:
        return None
    return {**drained._asdict(), "user": reactor.directory.name(drained.uid)}


def _total(capacity: Capacity) -> dict[str, Any]:
    return {
        "cpus": capacity.cpus,
        "memory_bytes": capacity.memory_bytes,
        "gpus": None if capacity.cards is None else len(capacity.cards),
        "gres": dict(capacity.gres),
    }
