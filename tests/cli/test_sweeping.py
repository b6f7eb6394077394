from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.api.fake import RunningServer
from tests.cli.conftest import Run


def test_a_sweep_is_one_array(server: RunningServer, run: Run, tmp_path: Path) -> None:
    """Parameters and tables are multiplied in the order in which they stand."""
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,x\n2,y\n")
    words = ("--param", "lr=0.1,0.01", "--param-file", str(table), "--array-limit", "3")
    result = run("submit", *words, "-J", "r{lr}", "./cmd".removeprefix("./"), "{lr}")
    assert result.code == 0, result.err
    (submission,) = server.operations.submissions
    assert submission.spec.array.limit == 3 and submission.spec.command == ("cmd", "{lr}")
    assert [names for names, _ in submission.spec.sweep] == [("lr",), ("a", "b")]


def test_a_swept_script_is_a_list_of_jobs(
    server: RunningServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each script is captured as it is now, and its jobs get their own values."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(f"{name}.sh").write_text(f"#!/bin/sh\necho {name}\n")
    words = ("--param", "which=a,b", "--param", "n=1,2", "./{which}.sh", "{n}")
    assert run("submit", *words).out == "Submitted 4 batch jobs, 1 to 4\n"
    specs = [submission.spec for submission in server.operations.submissions]
    assert [spec.args for spec in specs] == [("1",), ("2",), ("1",), ("2",)]
    assert len({spec.script for spec in specs}) == 2 and specs[0].name == "a.sh"
    assert specs[3].params == (("which", "b"), ("n", "2"))
    assert run("run", *words).code == 2


def test_a_dry_run_submits_nothing(server: RunningServer, run: Run) -> None:
    """It shows every job with its values in place, once the supervisor has checked them."""
    result = run("submit", "--dry-run", "--param", "s=1..3", "-J", "x{s}", "cmd", "{s}", "{t}")
    assert "Would submit 1 array" in result.out and "would be accepted" in result.out
    assert "s=2: [x2] cmd 2 '{t}'" in result.out
    assert not server.operations.records and server.operations.calls == [("rehearse", 1)]
    answer = json.loads(run("submit", "--dry-run", "--json", "true").out)
    assert answer["accepted"] and answer["specs"][0]["command"] == ["true"]


def test_a_dry_run_is_for_people(server: RunningServer, run: Run) -> None:
    """Sizes, times and the umask are written as one would write them."""
    said = run("submit", "--dry-run", "--mem", "192M", "--time", "90", "true").out
    assert "memory_bytes=192M" in said and "1:30:00" in said
    assert re.search(r"^umask +0[0-7]{3}$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--param lr true", "lr=0.1,0.01"),
        ("--param a=1 --param a=2 true", "given twice"),
        ("--param-file /nonexistent true", "No such file"),
        ("--array-limit 0 true", "from 1 on"),
    ],
)
def test_bad_sweeps(run: Run, words: str, said: str) -> None:
    """One sentence, exit 2, before anybody is asked."""
    result = run("submit", *words.split())
    assert result.code == 2 and said in result.err and len(result.err.splitlines()) == 1
