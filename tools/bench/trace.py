"""Jobs as they arrive on a shared machine: made up, or read from a workload in Standard Format.

The made-up ones have the shapes that studies of GPU clusters report (Jeon et al., USENIX ATC 2019;
Hu et al., SC 2021; Weng et al., NSDI 2022): most jobs ask for one card, a few for all of them; run
times are log-normal over five orders of magnitude; few users submit most; arrivals come by day and
in bursts; time limits are guessed far too high, or not given at all.
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


@dataclass(slots=True, frozen=True)
class Shape:
    """What a made-up workload looks like. Times in seconds."""

    name: str
    #: (cards asked for, how often).
    widths: tuple[tuple[int, int], ...]
    median_s: float
    #: Spread of the logarithm of run times.
    sigma: float
    #: No run is longer.
    longest_s: float
    users: int
    #: Share of arrivals that are bursts, and the most jobs in one.
    burst: tuple[float, int]
    #: Share of jobs that name no time limit: they get the site's default, the longest run.
    unlimited: float
    #: Share of all cards that is asked for on average.
    load: float


SHAPES = (
    Shape(
        "research group", ((1, 70), (2, 13), (4, 10), (8, 7)), 545.0, 1.9, 2 * _DAY_S, 40,
        (0.03, 30), 0.0, 0.6,
    ),
    Shape(
        "no limits for a third", ((1, 80), (2, 8), (4, 8), (8, 4)), 250.0, 2.1, _DAY_S, 25,
        (0.03, 30), 0.33, 0.6,
    ),
    Shape(
        "sweeps of few users", ((1, 90), (2, 4), (4, 3), (8, 3)), 1500.0, 1.2, _DAY_S, 6,
        (0.1, 100), 0.1, 0.6,
    ),
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class Arrival:
    """One job of a trace. Times are seconds since its beginning."""

    number: int
    user: str
    submit_s: float
    run_s: float
    #: What its submitter asked for, or the default; at least ``run_s``.
    limit_s: float
    #: Cards, or processors where there are no cards.
    width: int


def made_up(shape: Shape, count: int, seed: int, *, cards: int) -> list[Arrival]:
    """So many jobs of a shape for a machine of so many cards, by moment of arrival."""
    dice = random.Random(seed)
    widths = dice.choices(*zip(*shape.widths), k=count)
    middle = math.log(shape.median_s)
    runs = [
        min(shape.longest_s, max(5.0, dice.lognormvariate(middle, shape.sigma)))
        for _ in range(count)
    ]
    total_s = sum(run * width for run, width in zip(runs, widths)) / (cards * shape.load)
    moments = sorted(_arrivals(dice, shape, count, total_s))
    found = []
    for number, (moment_s, run_s, width) in enumerate(zip(moments, runs, widths)):
        user = min(shape.users - 1, int(dice.paretovariate(0.9)) - 1)
        guess_s = 60.0 * math.ceil(run_s * dice.uniform(1.0, 8.0) / 60.0)
        named_s = min(2 * shape.longest_s, guess_s)
        limit_s = shape.longest_s if dice.random() < shape.unlimited else named_s
        found.append(Arrival(number, f"user{user}", moment_s, run_s, limit_s, width))
    return found


def _arrivals(dice: random.Random, shape: Shape, count: int, total_s: float) -> Iterator[float]:
    """Moments: by day more than by night, some in bursts."""
    made, (often, most) = 0, shape.burst
    while made < count:
        moment_s = dice.uniform(0.0, total_s)
        if dice.random() > 0.6 + 0.4 * math.sin(2 * math.pi * moment_s / _DAY_S):
            continue
        burst = dice.randrange(2, most) if dice.random() < often else 1
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
