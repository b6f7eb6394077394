"""Run files that are nobody's any more: gone at once, used again, or deleted in time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.launching import attic
from gflow.launching.attic import Attic
from gflow.launching.place import Place


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder of run files, with three."""
    path = tmp_path / "runs"
    path.mkdir()
    for job in range(3):
        (path / f"{job}.1").touch()
    return path


def opened(tmp_path: Path) -> Attic:
    made = Attic(Place(str(tmp_path)))
    made.open()
    return made


def seen(runs: Path) -> list[str]:
    return sorted(name for name in os.listdir(runs) if not name.startswith("."))


def kept(runs: Path) -> int:
    return len(os.listdir(runs / ".forgotten"))


@pytest.fixture
def no_spares(monkeypatch: pytest.MonkeyPatch) -> None:
    """None are kept for later."""
    monkeypatch.setattr(attic, "_SPARES", 0)


@pytest.mark.usefixtures("no_spares")
def test_a_file_is_gone_at_once_and_deleted_when_it_is_quiet(tmp_path: Path, runs: Path) -> None:
    """Nobody finds it in its place; a burst of jobs does not pay for deleting it."""
    ours = opened(tmp_path)
    ours.put(f"{runs}/0.1", 100.0)
    ours.put(f"{runs}/1.1", 101.0)
    assert (seen(runs), kept(runs)) == (["2.1"], 2)
    ours.clear(105.0)
    assert kept(runs) == 2
    ours.clear(106.0)
    assert (seen(runs), kept(runs)) == (["2.1"], 0)


@pytest.mark.parametrize(("most", "now_s"), [("_MOST", 100.0), ("_SPARES", 200.0)])
def test_not_more_than_so_many_are_kept(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, most: str, now_s: float
) -> None:
    """However busy it is, or, for the next burst, however quiet; and the oldest go first."""
    monkeypatch.setattr(attic, most, 1)
    ours = opened(tmp_path)
    for job in range(3):
        ours.put(f"{runs}/{job}.1", 100.0)
    ours.clear(now_s)
    assert os.listdir(runs / ".forgotten") == ["2.1"]


def test_a_file_is_given_away_once_it_rested(tmp_path: Path, runs: Path) -> None:
    """Its shim may hold it for a moment; the oldest goes first, and each to one attempt alone."""
    ours = opened(tmp_path)
    ours.put(f"{runs}/0.1", 100.0)
    ours.put(f"{runs}/1.1", 101.0)
    assert ours.take(100.1) is None
    assert ours.take(100.3) == f"{runs}/.forgotten/0.1"
    assert ours.take(100.3) is None


@pytest.mark.usefixtures("no_spares")
def test_the_next_launcher_deletes_what_is_left(tmp_path: Path, runs: Path) -> None:
    """A killed one leaves nothing for ever."""
    opened(tmp_path).put(f"{runs}/0.1", 100.0)
    opened(tmp_path).clear(200.0)
    assert kept(runs) == 0


def test_without_its_folder_files_are_deleted_at_once(tmp_path: Path, runs: Path) -> None:
    """Whatever became of it."""
    ours = opened(tmp_path)
    (runs / ".forgotten").rmdir()
    ours.put(f"{runs}/0.1", 100.0)
    ours.put(f"{runs}/7.1", 100.0)
    assert seen(runs) == ["1.1", "2.1"]
