"""Jobs as they arrive on a shared machine: made up, or read from a workload in Standard Format.

The made-up ones have the shape that studies of GPU clusters report (Jeon et al., USENIX ATC 2019;
Hu et al., SC 2021): most jobs ask for one card, a few for all of them; run times are log-normal
over five orders of magnitude; few users submit most; arrivals come by day and in bursts; time
limits are guessed far too high.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: A workload to replay instead of a made-up one: path of a ``.swf`` file.
SWF = "BENCH_SWF"

_DAY_S = 86_400.0
#: Cards asked for, and how often.
_WIDTHS = ((1, 70), (2, 13), (4, 10), (8, 7))
_USERS = 40


@dataclass(slots=True, frozen=True)
class Arrival:
    """One job of a trace. Times are seconds since its beginning."""

    number: int
    user: str
    submit_s: float
    run_s: float
    #: What its submitter asked for, at least ``run_s``.
    limit_s: float
    #: Cards, or processors where there are no cards.
    width: int


def made_up(count: int, seed: int, *, cards: int, load: float) -> list[Arrival]:
    """So many jobs that ask for ``load`` of all cards on average."""
    dice = random.Random(seed)
    widths = dice.choices(*zip(*_WIDTHS), k=count)
    runs = [min(2 * _DAY_S, max(5.0, dice.lognormvariate(6.3, 1.9))) for _ in range(count)]
    total_s = sum(run * width for run, width in zip(runs, widths)) / (cards * load)
    moments = sorted(_arrivals(dice, count, total_s))
    found = []
    for number, (moment_s, run_s, width) in enumerate(zip(moments, runs, widths)):
        user = min(_USERS - 1, int(dice.paretovariate(0.9)) - 1)
        limit_s = min(4 * _DAY_S, 60.0 * math.ceil(run_s * dice.uniform(1.0, 8.0) / 60.0))
        found.append(Arrival(number, f"user{user}", moment_s, run_s, limit_s, width))
    return found


def _arrivals(dice: random.Random, count: int, total_s: float) -> Iterator[float]:
    """Moments: by day more than by night, a third of them in bursts of up to thirty."""
    made = 0
    while made < count:
        moment_s = dice.uniform(0.0, total_s)
        if dice.random() > 0.6 + 0.4 * math.sin(2 * math.pi * moment_s / _DAY_S):
            continue
        burst = dice.randrange(2, 30) if dice.random() < 0.03 else 1
        for number in range(min(burst, count - made)):
            yield moment_s + number
        made += burst


def read_swf(path: Path, count: int) -> tuple[list[Arrival], int]:
    """At most ``count`` jobs of a workload, and the processors of its machine.

    Fields as in "Standard Workload Format" (Feitelson, version 2.2): 2 submit time, 4 run time,
    5 allocated and 8 requested processors, 9 requested time, 12 user; -1 is unknown.
    """
    found: list[Arrival] = []
    processors = 0
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith(";"):
            name, _, value = line.lstrip("; ").partition(":")
            if name == "MaxProcs" and value.strip().isdigit():
                processors = int(value)
            continue
        fields = [float(word) for word in line.split()]
        if len(fields) < 12 or fields[3] <= 0:
            continue
        width = int(fields[7] if fields[7] > 0 else fields[4])
        if width < 1:
            continue
        limit_s = max(fields[8], fields[3])
        user = f"user{int(fields[11])}"
        found.append(Arrival(len(found), user, fields[1], fields[3], limit_s, width))
        if len(found) == count:
            break
    return found, processors or max(one.width for one in found)
