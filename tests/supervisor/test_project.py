"""Which projects jobs may be counted for."""

from __future__ import annotations

import pytest

from gflow import config
from gflow.errors import Refused
from gflow.supervisor import project


def settings(text: str) -> config.Config:
    """[projects] with these keys."""
    return config.load({}, texts={"gflow.toml": f"[projects]\n{text}\n"})


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("require_project = true", None, "it needs a project"),
        ('known_projects = ["a", "b"]', "c", "there is no project 'c' here, only a, b"),
    ],
)
def test_what_is_refused(text: str, name: str | None, words: str) -> None:
    """One sentence says what would do."""
    with pytest.raises(Refused, match=words):
        project.check(settings(text), name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", None),
        ("", "anything"),
        ("require_project = true", "anything"),
        ('known_projects = ["a"]', None),
        ('known_projects = ["a"]\nrequire_project = true', "a"),
    ],
)
def test_what_is_not(text: str, name: str | None) -> None:
    """Without a list every project is known."""
    project.check(settings(text), name)
