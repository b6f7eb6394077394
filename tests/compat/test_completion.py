"""Completion of the older commands."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from gflow.cli.classic.main import PROGRAMS
from gflow.cli.completion import SHELLS


def script(program: str, shell: str) -> str:
    """What a program prints for a shell."""
    words = [sys.executable, "-P", "-m", "gflow.cli.classic.main"]
    words += ["completion", shell] if program == "gflow" else [program, "completion", shell]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("program", [*PROGRAMS, "gflow"])
def test_scripts_are_valid(program: str, shell: str) -> None:
    """The shell finds no mistake, and the script is about this program."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    text = script(program, shell)
    done = subprocess.run([shell, "-n"], input=text.encode(), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f" {program}" in text


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("gqueue -u ann --sta", {"--states"}),
        ("gbatch --max-c", {"--max-concurrent"}),
        ("gbatch ne", {"new"}),
        ("gjob upd", {"update"}),
        ("gjob attach --t", {"--tmux"}),
        ("gctl res", {"reserve"}),
        ("gctl reserve l", {"list"}),
        ("gctl reserve list --timel", {"--timeline"}),
        ("gflowd rel", {"reload"}),
        ("gcancel completion f", {"fish"}),
        ("gflow gba", {"gbatch"}),
    ],
)
def test_bash_completes(words: str, found: set[str]) -> None:
    """What bash offers after some words."""
    parts = words.split()
    quoted = " ".join(f"'{part}'" for part in parts)
    text = script(parts[0], "bash") + (
        f"\nCOMP_WORDS=({quoted}); COMP_CWORD={len(parts) - 1}; _{parts[0]}; "
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == found, done.stderr
