from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.fake import RunningServer
from tests.cli.conftest import Run


def test_the_parts_of_a_priority(server: RunningServer, run: Run) -> None:
    """Each part has its points; JSON is a list, one object for each job."""
    server.operations.add(7)
    out = run("priority", "7").out
    assert "number 2 in the queue" in out and "900.0 its user's share used" in out
    assert "10900.5 in all" in out
    assert json.loads(run("priority", "--json", "7", "7").out)[1]["job_id"] == 7


def test_a_simulation_of_a_submission(server: RunningServer, run: Run) -> None:
    """Options are those of submit; the command may be left out."""
    result = run("simulate", "-c", "3", "-t", "1h")
    assert result.code == 0, result.err
    assert result.out.startswith("It would start at ") and "at the earliest" in result.out
    assert "Job 7 would be delayed by 1:00: from " in result.out
    spec = server.operations.submissions[0].spec
    assert spec.resources.cpus == 3 and spec.time_limit_s == 3600.0
    assert server.operations.records == {}


def test_a_simulation_of_specs(server: RunningServer, run: Run, tmp_path: Path) -> None:
    """--with takes what the API takes, one or several."""
    path = tmp_path / "specs.json"
    path.write_text(json.dumps([{"command": ["a"]}, {"command": ["b"]}]))
    assert json.loads(run("simulate", "--json", "--with", str(path)).out)["delayed_count"] == 1
    assert server.operations.calls == [("simulate", 2)]
    rows = run("simulate", "--with", str(path)).out.splitlines()
    assert [row.split()[:2] for row in rows[:3]] == [["SPEC", "NAME"], ["1", "a"], ["2", "a"]]


@pytest.mark.parametrize("text", ["{", "[]", "3", '["a"]'])
def test_specs_that_are_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The file is named in one sentence."""
    monkeypatch.chdir(tmp_path)
    Path("specs.json").write_text(text)
    result = run("simulate", "--with", "specs.json")
    assert result.code in (1, 2) and len(result.err.splitlines()) == 1
    assert "'specs.json' holds no" in result.err
