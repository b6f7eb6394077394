"""What monitoring systems ask for: ``/v1/metrics`` in Prometheus' text format, version 0.0.4.

Names follow https://prometheus.io/docs/practices/naming: base units, ``_total`` for counters. All
of it comes from memory; the counters begin with the supervisor.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

import gflow
from gflow.model.state import LIVE, TERMINAL, State

Labels = Mapping[str, object]
Sample = tuple[Labels, float | int | None]

#: Upper ends of the buckets of waits, in seconds: from at once to a week.
_WAIT_BOUNDS_S = (0.01, 0.1, 1, 10, 60, 300, 1800, 3600, 4 * 3600, 86400, 7 * 86400)


class Histogram:
    """Counts of values by upper bound."""

    def __init__(self, bounds: tuple[float, ...] = _WAIT_BOUNDS_S) -> None:
        self.bounds = bounds
        #: One more than there are bounds: what is above the last.
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Tally:
    """What happened to jobs since the supervisor began."""

    def __init__(self) -> None:
        self.submitted = 0
        self.started = 0
        #: Ends by state.
        self.ended = {state: 0 for state in State if state in TERMINAL}
        #: From the moment when nothing but resources kept a job from starting to its start.
        self.waits = Histogram()


class Page:
    """Metrics as text, one family after the other."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, kind: str, help: str, samples: Iterable[Sample]) -> None:
        """A family; samples that are None are not known and left out, and so is an empty one."""
        known = [(labels, value) for labels, value in samples if value is not None]
        if not known:
            return
        self._head(name, kind, help)
        self._lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in known]

    def add_histogram(self, name: str, help: str, found: Histogram) -> None:
        """A family of its own."""
        self._head(name, "histogram", help)
        bounds = [*map(_number, found.bounds), "+Inf"]
        for bound, count in zip(bounds, accumulate(found.counts)):
            self._lines.append(f'{name}_bucket{{le="{bound}"}} {count}')
        self._lines.append(f"{name}_sum {_number(round(found.sum, 6))}")
        self._lines.append(f"{name}_count {sum(found.counts)}")

    def _head(self, name: str, kind: str, help: str) -> None:
        self._lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]

    def text(self) -> str:
        """Everything, with the newline at the end that the format wants."""
        return "\n".join(self._lines) + "\n"


def page(
    *,
    uptime_s: float,
    counts: Mapping[State, int],
    tally: Tally,
    loop: Histogram,
    processes: Mapping[str, Mapping[str, Any]],
    total: Mapping[str, Any],
    free: Mapping[str, Any],
    cards: Iterable[Mapping[str, Any]],
) -> str:
    """The whole page; ``processes``, ``total``, ``free`` and ``cards`` are those of ``status``."""
    made = Page()
    made.add("gflow_build_info", "gauge", "Version.", [({"version": gflow.__version__}, 1)])
    began_at: list[Sample] = [({}, round(time.time() - uptime_s, 3))]
    made.add("process_start_time_seconds", "gauge", "When the supervisor began.", began_at)
    _add_jobs(made, counts, tally)
    made.add_histogram(
        "gflow_loop_turn_seconds",
        "Length of the event loop's turns: a decision may have to wait for one.",
        loop,
    )
    _add_processes(made, processes)
    _add_resources(made, total, free)
    _add_cards(made, list(cards))
    return made.text()


def _add_jobs(made: Page, counts: Mapping[State, int], tally: Tally) -> None:
    made.add(
        "gflow_jobs",
        "gauge",
        "Jobs that have not ended, by state.",
        [({"state": state.value}, counts.get(state, 0)) for state in State if state in LIVE],
    )
    made.add("gflow_jobs_submitted_total", "counter", "Jobs admitted.", [({}, tally.submitted)])
    made.add("gflow_jobs_started_total", "counter", "Attempts begun.", [({}, tally.started)])
    made.add(
        "gflow_jobs_ended_total",
        "counter",
        "Jobs that ended, by state.",
        [({"state": state.value}, count) for state, count in tally.ended.items()],
    )
    made.add_histogram(
        "gflow_job_wait_seconds",
        "How long jobs waited for resources alone before they started.",
        tally.waits,
    )


def _add_processes(made: Page, processes: Mapping[str, Mapping[str, Any]]) -> None:
    made.add(
        "gflow_process_up",
        "gauge",
        "Whether a process of gflow's runs and answers.",
        [({"process": n}, int(p["state"] == "running")) for n, p in processes.items()],
    )
    made.add(
        "gflow_process_restarts_total",
        "counter",
        "How often a process of gflow's was replaced.",
        [({"process": name}, p["restarts"]) for name, p in processes.items()],
    )
    persister = processes["persister"]
    for name, kind, help, key in (
        ("gflow_persister_unsaved_records", "gauge", "Changed records not on disk.", "changed"),
        (
            *("gflow_persister_oldest_unsaved_seconds", "gauge"),
            *("Age of the oldest change that is not on disk.", "oldest_unsaved_s"),
        ),
        ("gflow_persister_commits_total", "counter", "Batches on disk.", "seq_durable"),
    ):
        made.add(name, kind, help, [({}, persister[key])])
    made.add(
        "gflow_monitor_pass_seconds",
        "gauge",
        "Processor time of the latest pass over all jobs.",
        [({}, processes["monitor"].get("cost_s"))],
    )


def _add_resources(made: Page, total: Mapping[str, Any], free: Mapping[str, Any]) -> None:
    for key, name, help in (
        ("cpus", "gflow_cpus", "Processors that are given out."),
        ("memory_bytes", "gflow_memory_bytes", "Memory that is given out."),
        ("gpus", "gflow_gpus", "Cards; those free are wholly free and usable."),
    ):
        samples: list[Sample] = [({"which": "total"}, total[key]), ({"which": "free"}, free[key])]
        made.add(name, "gauge", help, samples)


def _add_cards(made: Page, cards: list[Mapping[str, Any]]) -> None:
    labels = [
        {"gpu": card["index"], "uuid": card["uuid"] or "", "name": card["name"] or ""}
        for card in cards
    ]
    for key, name, help in (
        ("memory_bytes", "gflow_gpu_memory_bytes", "Memory of a card."),
        ("used_bytes", "gflow_gpu_memory_used_bytes", "Memory in use on a card."),
        ("utilisation", "gflow_gpu_utilization_ratio", "Share of time in which a card computed."),
        ("temperature_c", "gflow_gpu_temperature_celsius", "Temperature of a card."),
        ("power_w", "gflow_gpu_power_watts", "Power drawn by a card."),
    ):
        made.add(name, "gauge", help, [(own, card[key]) for own, card in zip(labels, cards)])
    made.add(
        "gflow_gpu_usable",
        "gauge",
        "Whether a card may be given out: no stranger on it, no fault.",
        [(own, int(card["unusable"] is None)) for own, card in zip(labels, cards)],
    )
    made.add(
        "gflow_gpu_jobs",
        "gauge",
        "Jobs that hold a card.",
        [(own, len(card["jobs"])) for own, card in zip(labels, cards)],
    )


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(str(v))}"' for name, v in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float | int) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))
