"""``#SBATCH`` lines: what they ask for here, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gflow.cli.classic import batch, directive
from gflow.cli.command import Failure


def translated(*lines: str) -> tuple[dict[str, Any], list[str]]:
    """The spec of these lines, and the verdict on each option."""
    text = "#!/bin/bash\n" + "\n".join(f"#SBATCH {line}" for line in lines) + "\ntrue\n"
    found = directive.translate(directive.sbatch_lines(text, "job.sh"), "job.sh")
    return dict(found.spec), [verdict for _, verdict, _ in found.notes]


@pytest.mark.parametrize(
    ("lines", "resources"),
    [
        (["-c 4", "--mem=2G"], {"cpus": 4, "memory_bytes": 2 << 30}),
        (["--ntasks=3 -c 2", "--mem-per-cpu=1G"], {"cpus": 6, "memory_bytes": 6 << 30}),
        (
            ["--gpus=2 --cpus-per-gpu=4", "--mem-per-gpu=1000"],
            {"gpus": 2, "cpus": 8, "memory_bytes": 2000 << 20},
        ),
        (
            ["--cpus-per-gpu=4", "--gres=gpu:a100:2,disk:1"],
            {"gpus": 2, "cpus": 8, "gres": {"disk": 1}},
        ),
        (["--exclusive"], {"exclusive": True}),
    ],
)
def test_resources(lines: list[str], resources: dict[str, Any]) -> None:
    """Products of options are worked out, whatever their order."""
    assert translated(*lines)[0]["resources"] == resources


@pytest.mark.parametrize("line", ["--gpus=0 --cpus-per-gpu=4", "--cpus-per-gpu=4"])
def test_without_gpus_nothing_is_counted_by_them(line: str) -> None:
    """The usual processor stays."""
    assert "cpus" not in translated(line)[0].get("resources", {})


def test_what_is_said() -> None:
    """Exact, as near as it goes, or nothing at all."""
    _, verdicts = translated("-J x --nodes=1", "--partition=long --export=NONE --nosuch")
    assert verdicts == ["translated", "approximated", "ignored", "translated", "ignored"]


@pytest.mark.parametrize(
    "line",
    [
        *("--cpus-per-gpu=x", "-c 1.5", "-n x", "--gpus=a100:x", "--priority=high", "-N 2"),
        *("--time=zzz", "--mem=lots", "--export==x", "--array=x", "--signal=x"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(line: str) -> None:
    """File, line and option, in words of ours."""
    with pytest.raises(Failure, match=r"^job\.sh, line 2: -") as caught:
        translated(line)
    assert "literal" not in str(caught.value)


def test_gpus_of_all_tasks() -> None:
    """A request for gpus is never lost, in whatever way it is made."""
    spec, verdicts = translated("-n 2 --gpus-per-task=a100:3")
    assert spec["resources"] == {"cpus": 2, "gpus": 6}
    assert verdicts == ["approximated", "approximated"]


@pytest.mark.parametrize(("word", "kept"), [("yes", True), ("no", False)])
def test_what_becomes_of_the_impossible(word: str, kept: bool) -> None:
    """Slurm's word for it is ours."""
    spec, verdicts = translated(f"--kill-on-invalid-dep={word}")
    assert (spec, verdicts) == ({"kill_on_invalid_dependency": kept}, ["translated"])


@pytest.mark.parametrize(
    "option",
    [
        *("--time=1:2:3:4", "--gpus=x", "--nosuch", "--memory=lots", "--gpus=1 -g 2"),
        *("--depends-on zz", "--depends-on-any=,", "--param x", "--notify-email=nobody"),
    ],
)
def test_a_wrong_line_of_ours_is_named(tmp_path: Path, option: str) -> None:
    """``# GFLOW`` lines as well, whichever check finds it."""
    path = tmp_path / "job.sh"
    path.write_text(f"#!/bin/bash\n# GFLOW --priority=3\n# GFLOW {option}\ntrue\n")
    with pytest.raises(Failure, match=rf"^{path}, line 3: "):
        batch.run(["--dry-run", str(path)])


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ("--priority=3", "--shared", 3),
        ("--array=1-2", "--param x=1,2", 2),
        ("--depends-on=1", "--depends-on-any=2", 3),
    ],
)
def test_lines_that_contradict_are_named(
    tmp_path: Path, first: str, second: str, line: int
) -> None:
    """What is wrong with several of them together is said with a line of the file as well."""
    path = tmp_path / "job.sh"
    path.write_text(f"#!/bin/bash\n# GFLOW {first}\n# GFLOW {second}\ntrue\n")
    with pytest.raises(Failure, match=rf"^{path}, line {line}: "):
        batch.run(["--dry-run", str(path)])


def test_a_new_script_can_be_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its directives are turned off; each of them works when it is turned on."""
    monkeypatch.chdir(tmp_path)
    assert batch.run(["new", "fresh"]) == 0
    path = tmp_path / "fresh.sh"
    assert path.stat().st_mode & 0o777 == 0o755
    for text in (path.read_text(), path.read_text().replace("## GFLOW", "# GFLOW")):
        path.write_text(text)
        assert batch.run(["--dry-run", "fresh.sh"]) == 0
    said = capsys.readouterr().out
    assert said.count("(GPUs: 0)") == said.count("(GPUs: 1)") == 1


@pytest.mark.parametrize("words", [["new"], ["new", "a", "b"], ["new", "no/such/folder/x"]])
def test_a_new_script_needs_one_name(words: list[str]) -> None:
    """And a folder; nothing is submitted by that name."""
    with pytest.raises(Failure, match=r"gbatch new NAME|cannot create no/such"):
        batch.run(words)
