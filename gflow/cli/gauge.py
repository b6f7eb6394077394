"""What ``top`` says about the machine and about each job, as text of a certain width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gflow.api.quantity import format_duration, format_size
from gflow.cli import outcome, rendering

Record = dict[str, Any]

_FULL, _EMPTY = "█", "░"
#: Lines about cards at most; a machine with more of them has them two in a line, cut off.
_CARD_LINES = 4

#: Titles of a job's cells and their widths, one blank included; the last takes what is left.
COLUMNS = (
    ("JOBID", 8),
    ("NAME", 14),
    ("USER", 9),
    ("ST", 4),
    ("TIME", 9),
    ("CPU", 8),
    ("MEM", 12),
    ("GPU", 5),
    ("REASON", 0),
)


def bar(share: float, width: int) -> str:
    """``share`` of ``width`` characters; something is never shown as nothing."""
    cells = round(max(0.0, min(1.0, share)) * width)
    if share > 0 and not cells:
        cells = 1
    return _FULL * cells + _EMPTY * (width - cells)


def machine(status: Mapping[str, Any], width: int) -> Iterator[str]:
    """Lines about the machine as a whole."""
    counts = status.get("jobs") or {}
    shown = ", ".join(f"{count} {state.lower()}" for state, count in counts.items())
    uptime = format_duration(status.get("uptime_s") or 0)
    drained = " · drained" if status.get("drain") else ""
    yield rendering.cut(f"gflow · up {uptime}{drained} · {shown or 'no jobs'}", width)
    yield _bars(status.get("resources") or {}, width)
    yield from _cards(status.get("gpus") or [], width)


def _bars(resources: Mapping[str, Any], width: int) -> str:
    total, free = resources.get("total") or {}, resources.get("free") or {}
    parts = []
    for name, title in (("cpus", "cpus"), ("memory_bytes", "memory")):
        all_of_it = total.get(name) or 0
        used = all_of_it - (free.get(name) or 0)
        show = format_size if name.endswith("_bytes") else str
        figures = f"{show(used)}/{show(all_of_it)}"
        length = max(4, width // 2 - len(title) - len(figures) - 4)
        parts.append(f"{title} {bar(used / all_of_it if all_of_it else 0, length)} {figures}")
    return rendering.cut("  ".join(parts), width)


def _cards(cards: list[Record], width: int) -> Iterator[str]:
    half = width // 2 - 1
    texts = [_card(card, half if len(cards) > 1 else width) for card in cards]
    lines = ["  ".join(texts[start : start + 2]) for start in range(0, len(texts), 2)]
    yield from lines[:_CARD_LINES]


def _card(card: Record, width: int) -> str:
    """One card: its load, else its memory, else whether somebody holds it."""
    used, total, load = (card.get(key) for key in ("used_bytes", "memory_bytes", "utilisation"))
    jobs = card.get("jobs") or ()
    share = load if load is not None else (used / total if used and total else float(bool(jobs)))
    notes = ["-" if load is None else f"{100 * load:.0f}%"]
    if used is not None and total:
        notes.append(f"{format_size(used)}/{format_size(total)}")
    notes.append("kept back" if card.get("unusable") else ",".join(map(str, jobs)) or "free")
    head, tail = f"gpu{card.get('index')} ", " " + " ".join(notes)
    text = head + bar(share, max(3, width - len(head) - len(tail))) + tail
    return rendering.cut(rendering.escape(text), width).ljust(width)


def job(record: Record, now_s: float) -> tuple[str, ...]:
    """The cells of a job: what it uses stands before what it asked for."""
    resources, usage = record.get("resources") or {}, record.get("usage") or {}
    running = record["state"] == "RUNNING"
    cpus, rss = usage.get("cpus"), usage.get("rss_bytes")
    memory = resources.get("memory_bytes")
    asked = "-" if memory is None else format_size(memory)
    started = record.get("started_at")
    cells = (
        outcome.job_name(record),
        str(record.get("name") or ""),
        str(record.get("user") or record.get("uid") or ""),
        rendering.STATES.get(record["state"], (record["state"], ""))[0],
        "-" if started is None else format_duration((record.get("finished_at") or now_s) - started),
        (f"{cpus:.1f}/" if running and cpus is not None else "") + str(resources.get("cpus", "")),
        (f"{format_size(rss)}/" if running and rss is not None else "") + asked,
        ",".join(map(str, record.get("gpu_ids") or ())) or str(resources.get("gpus") or "-"),
        str(record.get("reason") or ""),
    )
    return tuple(map(rendering.escape, cells))
