from __future__ import annotations

import json
import time

import pytest

from gflow.cli import timeline
from tests.api.fake import RunningServer
from tests.cli.conftest import Run

DAY_S = 86400.0


def reservation(**values: object) -> dict[str, object]:
    """A record with defaults."""
    return {
        "id": 1,
        "user": "ann",
        "project": None,
        "start_at": 1000.0,
        "duration_s": 100.0,
        "cpus": 0,
        "gpus": 2,
        "gpu_ids": [],
        "every_s": None,
        "comment": None,
        **values,
    }


def test_reserve(server: RunningServer, run: Run) -> None:
    """Every option arrives."""
    words = "--user ann --gpu-ids 0-1 -c 4 --start @1800000000 --duration 2h --every 7d"
    result = run("reserve", *words.split(), "--comment", "demo")
    assert result.out == "Made reservation 1\n", result.err
    assert server.operations.calls[0][1] == {
        "start_at": 1.8e9,
        "duration_s": 7200.0,
        "user": "ann",
        "gpu_ids": (0, 1),
        "cpus": 4,
        "every_s": 7 * DAY_S,
        "comment": "demo",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--user a --start now --duration 1h", "name --cpus"),
        ("--start now --duration 1h -G 1", "--user"),
        ("--user a --project p --start now --duration 1h -G 1", "not allowed with"),
        ("--user a --start now --duration 0 -G 1", "needs an end"),
        ("--user a --start soon --duration 1h -G 1", "now+2h"),
        ("--user a --start now --duration 1h -G 1 --gpu-ids 0", "not both"),
    ],
)
def test_bad_reservations(run: Run, words: str, said: str) -> None:
    """One sentence names the part and what would do."""
    result = run("reserve", *words.split())
    assert result.code == 2 and said in result.err and len(result.err.splitlines()) == 1


def test_cancel(server: RunningServer, run: Run) -> None:
    """--once gives back one occurrence; without an id nothing is cancelled."""
    assert run("reservations", "cancel", "3", "--once").out == "Gave back reservation 3\n"
    assert server.operations.calls == [("unreserve", (3, True))]
    assert run("reservations", "cancel").code == 2


def test_list_with_a_picture(server: RunningServer, run: Run) -> None:
    """A row and a bar for each; JSON is the records alone."""
    now = time.time()
    server.operations.reserved = [
        reservation(start_at=now - 60, duration_s=3600.0),
        reservation(id=2, user=None, project="ml", gpus=0, cpus=8, start_at=now + DAY_S / 2),
    ]
    lines = run("reservations").out.splitlines()
    assert lines[1].split()[:5] == ["1", "ann", "2", "gpus", "now"]
    assert "8 cpus" in lines[2]
    bars = [line for line in lines if "█" in line]
    assert bars[0].startswith("1 ann") and bars[1].startswith("2 project ml")
    assert all(len(line) <= 80 for line in lines)
    assert len(json.loads(run("reservations", "--json").out)) == 2
    server.operations.reserved.clear()
    assert len(run("reservations").out.splitlines()) == 1


def test_get(server: RunningServer, run: Run) -> None:
    """One by its number; another is not found."""
    server.operations.reserved = [reservation(id=3)]
    assert json.loads(run("reservations", "get", "3", "--json").out)[0]["user"] == "ann"
    assert run("reservations", "get", "4").code == 1


def test_occurrences() -> None:
    """Once, or again and again from the next one on; what was given back is left out."""
    once = reservation()
    assert [*timeline.occurrences(once, 0.0, 2000.0)] == [(1000.0, 1100.0)]
    assert [*timeline.occurrences(once, 1100.0, 2000.0)] == []
    daily = reservation(every_s=1000.0)
    expected = [(3000.0, 3100.0), (4000.0, 4100.0)]
    assert [*timeline.occurrences(daily, 3050.0, 5000.0)] == expected
    resumed = reservation(every_s=1000.0, resumes_at=4000.0)
    assert [*timeline.occurrences(resumed, 3050.0, 5000.0)] == expected[1:]


def test_a_picture_is_to_scale() -> None:
    """A bar begins and ends where its reservation does; a short one is still seen."""
    long = reservation(start_at=250.0, duration_s=500.0)
    short = reservation(id=2, start_at=0.0, duration_s=1.0)
    _, first, second = timeline.picture([long, short], 0.0, 1000.0, 5 + 2 + 40)
    assert first == "1 ann  " + "·" * 10 + "█" * 20 + "·" * 10
    assert second == "2 ann  " + "█" + "·" * 39
