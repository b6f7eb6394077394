"""Submitted scripts run by what their first line says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gflow.launching import script
from tests.launching.driver import Driver, until


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"#!/bin/sh\n", ["/bin/sh"]),
        (b"#! /usr/bin/env python3 -u\nx", ["/usr/bin/env", "python3 -u"]),
        (b"#!/bin/sh", ["/bin/sh"]),
        (b"#!\t/bin/awk \t-f  x\t\n", ["/bin/awk", "-f  x"]),
        (b"#!/bin/sh\r\n", ["/bin/sh\r"]),
        (b"#!\n", None),
        (b"echo\n", None),
        (b"", None),
    ],
)
def test_the_first_line_is_read_as_the_kernel_does(text: bytes, parts: list[str] | None) -> None:
    """One interpreter and at most one argument."""
    assert script.interpreter(text) == parts


def test_a_script_runs_by_its_first_line(launcher: Driver) -> None:
    """With its arguments."""
    text = f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:])\n"
    launcher.run(script=text, args=["a b", "c"])
    assert launcher.log() == "['a b', 'c']\n"


def test_a_script_without_a_first_line_runs_in_bash(launcher: Driver) -> None:
    """As a batch script is expected to."""
    launcher.run(script="echo ${BASH_VERSION:+bash} $1\n", args=["x"])
    assert launcher.log() == "bash x\n"


def test_a_missing_interpreter_is_named(launcher: Driver) -> None:
    """Not only the copy of the script, which is there."""
    launcher.start(script="#!/no/such\n")
    assert "bad interpreter: /no/such" in launcher.wait_for("start_failed")["message"]


def test_a_script_is_private_and_goes_with_its_attempt(launcher: Driver) -> None:
    """Nobody else can read it, and nothing of it stays."""
    launcher.run(script='stat -c %a "$0"')
    assert launcher.log() == "700\n"
    until(lambda: not list((launcher.state_dir / "spool").iterdir()))


def test_a_script_runs_from_a_file_system_that_forbids_it(small_disk: Path) -> None:
    """Its interpreter is called by name where the kernel does not execute the file."""
    subprocess.run(["mount", "-o", "remount,noexec", str(small_disk)], check=True)
    driver = Driver(small_disk)
    try:
        driver.run(script="#!/bin/sh -e\necho $0 $1 $-\n", args=["x"])
        path, argument, flags = driver.log().split()
        assert (path, argument) == (f"{small_disk}/spool/1.1", "x") and "e" in flags
    finally:
        driver.close()
