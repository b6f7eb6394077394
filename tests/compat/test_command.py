"""Command lines that the reference's jobs become, run by a real shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.api.dialect import substituted
from gflow.compat.command import command_line

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)


def run(command: str, **parameters: str) -> str:
    """Output of a command with its parameters."""
    words = command_line(
        script=None, command=command, conda_env=None, task=None, parameters=parameters
    )
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@settings(max_examples=40, deadline=None)
@given(_TEXT)
def test_a_value_is_never_syntax(value: str) -> None:
    """Whatever quotes a placeholder stands in, the command gets the value as it is."""
    said = run("printf '%s\\n' {v} '{v}' \"{v}\" a{v}'b{v}'", v=value)
    assert said == f"{value}\n{value}\n{value}\na{value}b{value}\n"


@pytest.mark.parametrize("command", ["echo {a}", "awk '{print}'", "echo ${x} {a,b}"])
def test_braces_without_a_value_stay(command: str) -> None:
    """Only parameters are put in."""
    assert substituted(command, {"z": "1"}) == command


def test_a_script_without_a_first_line_is_bashs(tmp_path: Path) -> None:
    """As the reference runs it; one without a final newline too."""
    script = tmp_path / "a b.sh"
    script.write_text("echo $GFLOW_ARRAY_TASK_ID $0")
    words = command_line(script=str(script), command=None, conda_env=None, task=4, parameters={})
    assert subprocess.run(words, capture_output=True, text=True).stdout == f"4 {script}\n"


def test_a_scripts_first_line_counts(tmp_path: Path) -> None:
    """It need not be executable."""
    script = tmp_path / "x.py"
    script.write_text("#!/usr/bin/env python3\nimport sys; print(sys.argv[0])\n")
    words = command_line(script=str(script), command=None, conda_env=None, task=None, parameters={})
    assert subprocess.run(words, capture_output=True, text=True).stdout == f"{script}\n"


def test_a_missing_script_fails(tmp_path: Path) -> None:
    """With bash's own exit code for it."""
    words = command_line(
        script=str(tmp_path / "none"), command=None, conda_env=None, task=None, parameters={}
    )
    assert subprocess.run(words, capture_output=True).returncode == 127
