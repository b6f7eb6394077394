from __future__ import annotations

import shutil
import subprocess

import pytest

from gflow.cli.main import COMMANDS
from tests.cli.conftest import Run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_name_every_command(run: Run, shell: str) -> None:
    """Each shell learns every command and its options."""
    out = run("completion", shell).out
    assert all(name in out for name in COMMANDS) and "runtime-dir" in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_valid(run: Run, shell: str) -> None:
    """The shell itself finds no mistake."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    script = run("completion", shell).out.encode()
    done = subprocess.run([shell, "-n"], input=script, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("gflowctl que", {"queue"}),
        ("gflowctl submit --pri", {"--priority"}),
        ("gflowctl --json cancel --si", {"--signal"}),
        ("gflowctl submit --open-mode ap", {"append"}),
        ("gflowctl completion z", {"zsh"}),
        ("gflowctl report es", {"estimates"}),
        ("gflowctl quota cl", {"clear"}),
    ],
)
def test_bash_completes(run: Run, words: str, found: set[str]) -> None:
    """What bash offers after some words."""
    script = run("completion", "bash").out
    parts = words.split()
    quoted = " ".join(f"'{part}'" for part in parts)
    script += (
        f"\nCOMP_WORDS=({quoted}); COMP_CWORD={len(parts) - 1}; _gflowctl; "
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == found, done.stderr
