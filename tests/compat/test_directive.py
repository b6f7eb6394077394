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


@pytest.mark.parametrize("option", ["--time=1:2:3:4", "--gpus=x", "--nosuch", "--memory=lots"])
def test_a_wrong_line_of_ours_is_named(tmp_path: Path, option: str) -> None:
    """``# GFLOW`` lines as well, whichever check finds it."""
    path = tmp_path / "job.sh"
    path.write_text(f"#!/bin/bash\n# GFLOW --priority=3\n# GFLOW {option}\ntrue\n")
    with pytest.raises(Failure, match=rf"^{path}, line 3: "):
        batch.run(["--dry-run", str(path)])
