"""Jobs that begin in a conda environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gflow.api import conda
from gflow.api.quantity import GrammarError

#: Activates anything but "missing".
FAKE = """#!/bin/bash
echo 'conda() { [ "$2" != missing ] && export CONDA_DEFAULT_ENV=$2; }'
"""


def entered(spec: dict[str, Any], *environments: str, path: str | None = None) -> dict[str, Any]:
    """The spec with these environments, one after the other."""
    for environment in environments:
        conda.enter(spec, environment, path)
    return spec


def outcome(tmp_path: Path, spec: dict[str, Any]) -> tuple[str, int]:
    """What it prints, run with a conda that is none."""
    program = tmp_path / "conda"
    program.write_text(FAKE)
    program.chmod(0o755)
    command = spec.get("command") or ["bash", "-c", spec["script"]]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return answer.stdout.strip(), answer.returncode


SHOW = "echo $CONDA_DEFAULT_ENV; exit 3"


@pytest.mark.parametrize(
    "spec",
    [
        {"command": ["bash", "-c", SHOW]},
        {"script": SHOW},
        {"script": f"#!/bin/bash\n{SHOW}"},
        {"script": f"#!/usr/bin/env bash\n# GFLOW --gpus=1\n{SHOW}\n"},
    ],
)
def test_a_job_runs_in_the_environment_named_last(tmp_path: Path, spec: dict) -> None:
    """Commands and captured scripts; a second environment takes the place of the first."""
    assert outcome(tmp_path, entered(spec, "one", "two words")) == ("two words", 3)
    assert spec["labels"] == {"conda_env": "two words"}


@pytest.mark.parametrize("spec", [{"command": ["bash", "-c", SHOW]}, {"script": SHOW}])
def test_an_activation_that_fails_is_a_job_that_fails(tmp_path: Path, spec: dict) -> None:
    """Nothing of the job runs outside of the environment that it asked for."""
    assert outcome(tmp_path, entered(spec, "missing")) == ("", 1)


def test_another_languages_script_is_run_from_its_path() -> None:
    """Only there can a shell stand before it."""
    spec = entered({"script": "#!/usr/bin/python3 -u\n", "args": ["x"]}, "e", path="/a/b.py")
    assert spec["command"][4:] == ["/usr/bin/python3", "-u", "/a/b.py", "x"]


def test_another_languages_script_without_a_path_is_refused() -> None:
    """From standard input, say."""
    with pytest.raises(GrammarError, match="shell's script"):
        entered({"script": "#!/usr/bin/python3\n"}, "e")
