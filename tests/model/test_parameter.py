"""Which values a task of a sweep has, and where they are put."""

from __future__ import annotations

import subprocess

import pytest

from gflow.model import parameter

TABLE = ((("lr",), (("0.1",), ("0.01",))), (("a", "b"), (("1", "x"), ("2", "y"), ("3", "z"))))


def test_the_last_factor_varies_fastest() -> None:
    """Every combination once; columns of a table stay together."""
    found = [parameter.values_at(TABLE, position) for position in range(parameter.size(TABLE))]
    assert len(set(found)) == 6
    assert found[0] == (("lr", "0.1"), ("a", "1"), ("b", "x"))
    assert found[1] == (("lr", "0.1"), ("a", "2"), ("b", "y"))
    assert found[5] == (("lr", "0.01"), ("a", "3"), ("b", "z"))


def test_only_what_is_swept_is_filled_in() -> None:
    """Braces of others, and the shell's own, stay."""
    assert parameter.filled("{lr} {x} ${lr} {}", {"lr": "1"}) == "1 {x} ${lr} {}"


def test_variables() -> None:
    """What a job finds its values by."""
    assert parameter.variable("learning.rate-1") == "GFLOW_PARAM_LEARNING_RATE_1"


@pytest.mark.parametrize("value", ["a b", "a'b", 'a"b', "$(false)", "`false`", "a\\b", ";false"])
def test_a_value_is_never_syntax(value: str) -> None:
    """In a line for the shell a value is text, whatever quotes it stands in."""
    line = "printf '%s|' {v} '{v}' \"{v}\" pre{v}"
    command = parameter.filled_command(("bash", "-c", line), {"v": value})
    out = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    assert out == f"{value}|{value}|{value}|pre{value}|"
