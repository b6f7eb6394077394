"""Which attempts have begun, without any run file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.launching import ledger
from gflow.launching.ledger import Entries, Ledger
from gflow.launching.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A state folder."""
    return Place(str(tmp_path))


@pytest.fixture
def ours(place: Place) -> Ledger:
    """Its ledger, begun."""
    made = Ledger(place)
    made.tend()
    return made


def test_what_began_is_listed_until_it_is_settled(ours: Ledger) -> None:
    """In whatever order they come."""
    for key in ((1, 1), (2, 1), (1, 2)):
        ours.begin(key)
    ours.settle((1, 1))
    assert ours.read().begun == {(2, 1), (1, 2)}


def test_absence_is_a_proof_for_later_orders(ours: Ledger) -> None:
    """Not for what was ordered before the ledger itself began, nor for what is listed."""
    ours.begin((2, 1))
    entries = ours.read()
    since_s = entries.complete_since_s
    assert since_s is not None
    later_s = since_s + 1.0
    assert entries.rules_out((1, 1), later_s)
    assert not entries.rules_out((1, 1), since_s - 1.0)
    assert not entries.rules_out((2, 1), later_s)


@pytest.mark.parametrize(
    "data", [b"", b"+1.1\n", b"garbage\n", b"=BOOT FOLDER 1.0\n+1", b"=BOOT FOLDER 1.0\n+1.x\n"]
)
def test_a_damaged_ledger_proves_nothing(place: Place, data: bytes) -> None:
    """Without its first line, or with anything that is not whole."""
    data = data.replace(b"BOOT", place.boot_id.encode()).replace(b"FOLDER", place.folder.encode())
    assert ledger.parse(data, place).complete_since_s is None


def test_another_boot_proves_what_began_and_no_absence(place: Place) -> None:
    """A power cut may have cost lines."""
    entries = ledger.parse(f"=other-boot {place.folder} 1.0\n+1.1\n".encode(), place)
    assert entries == Entries({(1, 1)}, None)


def test_a_copy_knows_nothing(place: Place) -> None:
    """What began in another folder is none of this one's."""
    assert ledger.parse(f"={place.boot_id} 0:0 1.0\n+1.1\n".encode(), place) == Entries(set(), None)


def test_composing_says_the_same(place: Place) -> None:
    """Only shorter."""
    entries = Entries({(3, 1), (12, 4)}, 17.25)
    assert ledger.parse(ledger.compose(entries, place, 99.0), place) == entries


def test_it_is_shortened(ours: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it has grown long; what is not settled stays, and so does the proof of absence."""
    monkeypatch.setattr(ledger, "_RENEW_BYTES", 2000)
    ours.begin((1, 1))
    ours.tend()
    before = ours.read()
    for attempt in range(200):
        ours.begin((2, attempt))
        ours.settle((2, attempt))
    Ledger(Place(ours.path.rpartition("/")[0])).tend()
    assert ours.read() == before
    assert Path(ours.path).stat().st_size < 200


def test_it_is_begun_anew_after_a_deletion(ours: Ledger) -> None:
    """Then it is complete from that moment on only."""
    before = ours.read().complete_since_s
    Path(ours.path).unlink()
    assert ours.read() == Entries(set(), None)
    ours.tend()
    after = ours.read().complete_since_s
    assert before is not None and after is not None and after > before


def test_run_files_count_as_begun(ours: Ledger, place: Place) -> None:
    """Where the ledger was lost, as in a power cut, it begins with what is known otherwise."""
    place.prepare()
    Path(place.run_path(5, 2)).touch()
    Path(ours.path).unlink()
    ours.tend()
    assert ours.read().begun == {(5, 2)}


def test_a_fifo_in_its_place_stops_nobody(ours: Ledger) -> None:
    """No call on it waits."""
    Path(ours.path).unlink()
    os.mkfifo(ours.path)
    ours.tend()
    with pytest.raises(OSError):
        ours.begin((1, 1))
    assert ours.read().complete_since_s is None
