"""Prometheus' text format, and the dashboard that reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gflow.model.state import State
from gflow.supervisor.loop import GapMeter
from gflow.supervisor.metric import Histogram, Page, Tally, page

DASHBOARD = Path(__file__).resolve().parents[2] / "conf" / "grafana.json"

_SAMPLE = re.compile(r'^([a-z][a-z0-9_]*)(\{[a-z]+="(?:[^"\\\n]|\\.)*"(?:,[^}]*)?\})? (\S+)$')


def parse(text: str) -> tuple[dict[str, str], dict[str, float]]:
    """(family → type, sample with its labels → value); every line must be right."""
    families: dict[str, str] = {}
    samples: dict[str, float] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in families, name
            families[name] = kind
            continue
        match = _SAMPLE.match(line)
        assert match, line
        samples[f"{match[1]}{match[2] or ''}"] = float(match[3])
        family = re.sub("_(bucket|sum|count)$", "", match[1])
        assert family in families or match[1] in families, line
    return families, samples


def everything() -> str:
    """The page of a machine where everything is known."""
    tally = Tally()
    tally.waits.add(5)
    process = {"state": "running", "restarts": 1}
    persister = {**process, "changed": 3, "oldest_unsaved_s": 0.5, "seq_durable": 9}
    resources = {"cpus": 8, "memory_bytes": 1 << 30, "gpus": 1}
    card = {
        "index": 0,
        "uuid": "GPU-1",
        "name": 'a "card"',
        "memory_bytes": 1 << 30,
        "used_bytes": 1 << 20,
        "utilisation": 0.5,
        "temperature_c": 40,
        "power_w": 100.5,
        "unusable": None,
        "jobs": [7],
    }
    return page(
        uptime_s=10.0,
        counts={State.RUNNING: 2},
        tally=tally,
        loop=GapMeter().histogram(),
        processes={"persister": persister, "monitor": {**process, "cost_s": 0.01}},
        total=resources,
        free=resources,
        cards=[card],
    )


def test_format() -> None:
    """Every line is right; counters and histograms are named as they should be."""
    families, samples = parse(everything())
    assert samples['gflow_jobs{state="RUNNING"}'] == 2
    assert samples['gflow_gpu_utilization_ratio{gpu="0",uuid="GPU-1",name="a \\"card\\""}'] == 0.5
    for name, kind in families.items():
        assert name.endswith("_total") == (kind == "counter"), name


def test_unknown_is_left_out() -> None:
    """A card that does not tell its power has no sample for it."""
    made = Page()
    made.add("gflow_gpu_power_watts", "gauge", "Power.", [({}, None)])
    assert made.text() == "\n"


def test_histogram_is_cumulative() -> None:
    """Each bucket counts everything up to its bound; the last one counts all."""
    found = Histogram((1, 10))
    for value in (0.5, 1, 2, 50):
        found.add(value)
    made = Page()
    made.add_histogram("waits", "Waits.", found)
    _, samples = parse(made.text())
    assert samples == {
        'waits_bucket{le="1"}': 2,
        'waits_bucket{le="10"}': 3,
        'waits_bucket{le="+Inf"}': 4,
        "waits_sum": 53.5,
        "waits_count": 4,
    }


def test_turns_are_counted_for_good() -> None:
    """A look at status starts its own distribution anew, not the one for Prometheus."""
    meter = GapMeter()
    for gap_s in (1e-5, 0.001, 0.001, 100.0):
        meter.add(gap_s)
        meter.take()
    found = meter.histogram()
    assert sum(found.counts) == 4
    assert found.counts[0] == 1 and found.counts[-1] == 1
    assert round(found.sum, 3) == 100.002


def test_dashboard_asks_for_what_there_is() -> None:
    """Every metric of conf/grafana.json exists."""
    families, samples = parse(everything())
    known = {*families, *(re.sub(r"\{.*", "", name) for name in samples)}
    asked = {name for text in _texts(json.loads(DASHBOARD.read_text())) for name in _names(text)}
    assert asked - known == set()
    assert known - asked - {re.sub("_(bucket|sum|count)$", "", name) for name in asked} <= {
        "process_start_time_seconds",
        *(name for name in known if name.endswith(("_bucket", "_sum", "_count"))),
    }


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value[key] for key in ("expr", "query") if isinstance(value.get(key), str)]
        return found + [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return []


def _names(text: str) -> list[str]:
    return re.findall(r"\bgflow_[a-z_]+", text)
