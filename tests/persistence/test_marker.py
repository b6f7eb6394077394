"""The marker file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.errors import StoreError
from gflow.persistence import marker
from gflow.persistence.marker import Marker, MarkerFile


def test_a_marker_comes_back(tmp_path: Path) -> None:
    """What is written is read."""
    path = str(tmp_path / "m")
    marker.write(path, Marker("machine", 42, 3))
    assert marker.read(path) == Marker("machine", 42, 3)


def test_unknown_fields_do_not_hinder(tmp_path: Path) -> None:
    """A marker of a later version is read as far as it is understood."""
    path = tmp_path / "m"
    path.write_text('{"machine_id": "x", "id_floor": 5, "novelty": 1}')
    assert marker.read(str(path)) == Marker("x", 5)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", "\xff"])
def test_garbage_is_refused(tmp_path: Path, text: str) -> None:
    """Anything that is no marker is named as damaged."""
    path = tmp_path / "m"
    path.write_text(text)
    with pytest.raises(StoreError, match="it is damaged"):
        marker.read(str(path))


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    """Reading never waits for a writer."""
    path = tmp_path / "m"
    os.mkfifo(path)
    with pytest.raises(StoreError):
        marker.read(str(path))


def test_an_interrupted_write_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the new file is whole and synced, the old one stands."""
    path = str(tmp_path / "m")
    marker.write(path, Marker("machine", 1))

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        marker.write(path, Marker("machine", 2))
    assert marker.read(path) == Marker("machine", 1)


def test_an_unchanged_marker_is_not_written(tmp_path: Path) -> None:
    """An update that changes nothing costs no sync."""
    file = MarkerFile(str(tmp_path), Marker("machine", 5))
    file.update(id_floor=5)
    assert os.listdir(tmp_path) == []


def test_the_copy_outside_may_be_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder above cannot be written to, the marker inside must do."""
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setattr(marker, "beside", lambda state_dir: "/proc/nowhere/marker")
    MarkerFile(str(folder), Marker("machine")).establish()
    assert os.listdir(folder) == ["state.marker"]
