"""How the supervisor is: the shape of ``status --json``."""

from __future__ import annotations

import os
import time
from typing import Any

import gflow
from gflow.model.resources import Capacity
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
            "warnings": store.get("warnings", []),
            "durability": reactor.config["persistence"]["durability"],
        },
        "processes": reactor.processes(),
        "loop_gap_ms": reactor.meter.take(),
        "jobs": {state.value: count for state, count in scheduler.counts().items() if count},
        "starts": reactor.counters["starts"],
        "ends": reactor.counters["ends"],
        "events": reactor.feed.last_id,
        "blob_bytes": reactor.blobs.total_bytes,
        "resources": {"total": _total(capacity), "free": free},
        "gpus": [
            {
                "index": card.index,
                "uuid": card.uuid,
                "name": card.name,
                "memory_bytes": card.memory_bytes or None,
                "unusable": card.unusable,
            }
            for card in capacity.cards or ()
        ],
        "config": reactor.config.sources,
    }


def _total(capacity: Capacity) -> dict[str, Any]:
    return {
        "cpus": capacity.cpus,
        "memory_bytes": capacity.memory_bytes,
        "gpus": None if capacity.cards is None else len(capacity.cards),
        "gres": dict(capacity.gres),
    }
