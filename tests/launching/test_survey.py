"""Looking at run files that do not read well."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gflow.launching import runfile, survey
from gflow.launching.adoption import Verdict
from gflow.launching.place import Place
from gflow.launching.survey import Survey


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Place:
    """A folder with the run file of attempt 7.1, whose shim is this process."""
    place = Place(str(tmp_path))
    os.makedirs(place.runs)
    fd = runfile.create(place.run_path(7, 1))
    runfile.append(fd, "7.1", "starting", {"boot_id": place.boot_id})
    return place


def failing(times: float, code: int) -> Callable[[int], bytes]:
    """A way to read that fails so often, then works."""
    read, left = runfile._read_all, [times]

    def read_all(fd: int) -> bytes:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(code, os.strerror(code))
        return read(fd)

    return read_all


def test_a_file_that_reads_the_second_time_is_believed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error of the disk loses no attempt."""
    monkeypatch.setattr(runfile, "_read_all", failing(2, errno.EIO))
    found = Survey(place).one(7, 1)
    assert found is not None and found.contents.get("starting") is not None


def test_who_holds_a_file_that_cannot_be_read_lives(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is the sign of life, whatever the words say."""
    monkeypatch.setattr(survey, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(runfile, "_read_all", failing(float("inf"), errno.EIO))
    found = Survey(place).one(7, 1)
    assert found is not None and found.verdict is Verdict.RUNNING


def test_what_will_never_read_is_not_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of that name, say."""
    monkeypatch.setattr(survey, "_READ_AGAIN_S", float("inf"))
    os.makedirs(place.run_path(8, 1))
    found = Survey(place).one(8, 1)
    assert found is not None and found.contents.damaged
