"""The house rules are checked for real: each rule fails on a tree that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import tidy


def problems(tmp_path: Path, files: dict[str, str]) -> list[str]:
    """What tidy says of a package with these files."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tidy.check_tree(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("scheduling/queue.py", "import gflow.persistence.link\n", "must not import persistence"),
        ("model/job.py", "from gflow.scheduling import queue\n", "must not import scheduling"),
        ("scheduling/queue.py", "import time\n", "the core is pure"),
        ("persistence/link.py", "import asyncio\n", "asyncio does not belong here"),
        ("launching/shim.py", "import psutil\n", "psutil does not belong here"),
        ("supervisor/reactor.py", "import orjson\n", "orjson does not belong here"),
        ("scheduling/utils.py", "", "the name says nothing"),
        (
            "supervisor/reactor.py",
            "def f():\n    import gflow.model.job\n",
            "imported at the top",
        ),
        ("cli/queue.py", "import gflow.model.job\n", "late or not at all"),
        ("elsewhere/thing.py", "import gflow.model.job\n", "no known layer"),
    ],
)
def test_broken_rule_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    """Each broken rule is one sentence with the file."""
    found = problems(tmp_path, {name: text})
    assert any(name in line and words in line for line in found), found


def test_cycle_is_named(tmp_path: Path) -> None:
    """Two modules of one layer that import each other are a cycle."""
    found = problems(
        tmp_path,
        {
            "model/a.py": "import gflow.model.b\n",
            "model/b.py": "import gflow.model.a\n",
        },
    )
    assert any("import cycle: gflow.model.a -> gflow.model.b -> gflow.model.a" in f for f in found)


def test_late_imports_are_allowed_in_two_places(tmp_path: Path) -> None:
    """supervisor/main loads the reactor late, cli the chosen command."""
    files = {
        "supervisor/main.py": "def main():\n    import gflow.supervisor.reactor\n",
        "cli/main.py": "def main():\n    import gflow.model.job\n",
    }
    assert problems(tmp_path, files) == []


def test_this_tree_is_tidy() -> None:
    """The real package breaks no rule."""
    assert tidy.check_tree(tidy.ROOT / tidy.PACKAGE) == []
