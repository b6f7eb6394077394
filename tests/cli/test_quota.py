from __future__ import annotations

import json

import pytest

from tests.api.fake import RunningServer
from tests.cli.conftest import Run


def test_limits_are_set_by_name(server: RunningServer, run: Run) -> None:
    """Each option is a limit; none clears one."""
    words = "--user ann --running-gpus 2 --pending-jobs none --gpu-hours-per-week 1.5"
    assert run("quota", "set", *words.split()).out == "The quota is changed\n"
    assert run("quota", "clear", "--default-user", "--json").out == '{"durable": true}\n'
    limits = {"running_gpus": 2, "pending_jobs": None, "gpu_hours_per_week": 1.5}
    assert server.operations.calls == [
        ("set_quota", ("user", "ann", limits, False)),
        ("set_quota", ("default_user", "", {}, True)),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("set --user ann", "--running-jobs"),
        ("set --running-jobs 1", "whose quota?"),
        ("set --user ann --running-jobs -1", "from 0 on"),
        ("set --user ann --running-jobs nan", "from 0 on"),
        ("set --user ann --project p --running-jobs 1", "not allowed with"),
        ("clear --user ann --running-jobs 1", "none"),
        ("--running-jobs 1", "quota set"),
        ("sett", "invalid choice"),
    ],
)
def test_bad_quotas(run: Run, words: str, said: str) -> None:
    """One sentence, exit 2, before anybody is asked."""
    result = run("quota", *words.split())
    assert result.code == 2 and said in result.err and len(result.err.splitlines()) == 1


def test_the_table(server: RunningServer, run: Run) -> None:
    """What is used of what is allowed; defaults have no use."""
    used = {
        "running_jobs": 1,
        "running_cpus": 3,
        "running_gpus": 1,
        "pending_jobs": 0,
        "gpu_hours_per_week": 1.25,
    }
    server.operations.quota_rows = [
        {"scope": "default_user", "name": "", "limits": {"pending_jobs": 500.0}, "used": None},
        {"scope": "project", "name": "ml", "limits": {"running_gpus": 2.0}, "used": used},
        {"scope": "user", "name": "a\x1bn", "limits": {}, "used": used},
    ]
    lines = run("quota").out.splitlines()
    assert lines[1].split() == ["other", "users", "-", "-", "-", "500", "-"]
    assert lines[2].split() == ["project", "ml", "1/-", "3/-", "1/2", "0/-", "1.2/-"]
    assert lines[3].startswith("a\\x1bn")
    assert len(json.loads(run("quota", "list", "--json", "--project", "ml").out)) == 1


def test_groups(server: RunningServer, run: Run) -> None:
    """A limit is set and lifted; the list shows it."""
    assert run("group", "set", "g%3").out == "Of the group g at most 3 may run at once\n"
    assert run("group", "clear", "g").code == 0
    calls = [("set_group", ("me", "g", 3)), ("set_group", ("me", "g", None))]
    assert server.operations.calls == calls
    assert run("group").out.splitlines()[1].split() == ["g", "me", "1", "2", "3"]


@pytest.mark.parametrize("words", ["set g", "clear g%2", "set", "set g%0"])
def test_bad_groups(run: Run, words: str) -> None:
    """The form that is right is said."""
    result = run("group", *words.split())
    assert result.code == 2 and len(result.err.splitlines()) == 1
