"""Where ids go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gflow.persistence import floor, marker
from gflow.persistence.marker import Marker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder with nothing in it."""
    folder = tmp_path / "state"
    (folder / "runs").mkdir(parents=True)
    (folder / "logs").mkdir()
    return folder


def test_an_empty_folder_begins_at_one(folder: Path) -> None:
    """Nothing was given out."""
    assert floor.of_folder(str(folder)) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("runs/70.1", 71),
        ("logs/90.log", 91),
        # Task 4 of array 10 is at most at position 4, so its id is at most 15.
        ("logs/10_4.log", 16),
        ("runs/.reports", 1),
        ("logs/notes.txt", 1),
        ("logs/99999999999999999999.log", 1),
    ],
)
def test_names_count_as_given_out(folder: Path, name: str, expected: int) -> None:
    """Run files and logs name ids that were used; other names say nothing."""
    (folder / name).touch()
    assert floor.of_folder(str(folder)) == expected


@pytest.mark.parametrize("place", [marker.inside, marker.beside])
def test_markers_count(folder: Path, place: object) -> None:
    """The marker inside and its copy outside are believed alike."""
    assert callable(place)
    marker.write(place(str(folder)), Marker("machine", 300))
    assert floor.of_folder(str(folder)) == 300


def test_a_damaged_marker_does_not_hinder(folder: Path) -> None:
    """The others must do."""
    Path(marker.inside(str(folder))).write_text("garbage")
    (folder / "runs" / "5.1").touch()
    assert floor.of_folder(str(folder)) == 6


def test_a_floor_is_a_number_or_a_record() -> None:
    """Both shapes are understood."""
    assert floor.parse({"value": 7}) == floor.parse(7) == 7
