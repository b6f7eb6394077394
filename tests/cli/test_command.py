"""What every command is made of."""

from __future__ import annotations

import argparse

import pytest

from gflow.cli.command import whole


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9" * 30, "is not from 1 to 64"),
        ("-" + "9" * 5000, "is not from 1 to 64"),
        ("65", "is not from 1 to 64"),
        ("4x", "is not a whole number"),
        ("٣", "is not a whole number"),
        ("", "is not a whole number"),
    ],
)
def test_a_number_is_refused_for_what_is_wrong_with_it(text: str, said: str) -> None:
    """However many digits it has, a whole number is one."""
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        whole(1, 64)(text)
