"""Settings: files, environment, refusals, and the commented example."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gflow import config
from gflow.errors import ConfigError

EXAMPLE = Path(__file__).resolve().parent.parent / "conf" / "gflow.toml"


def load(text: str, **environ: str) -> config.Config:
    """Settings from one file's text and some variables."""
    return config.load(dict(environ), texts={"gflow.toml": text})


def test_example_shows_every_key_with_its_default() -> None:
    """conf/gflow.toml is equal to the defaults, and names the keys that have none in comments."""
    text = EXAMPLE.read_text()
    shown = config.load({}, texts={"gflow.toml": text}).as_dict()
    assert shown == config.defaults()
    written = tomllib.loads(re.sub(r"(?m)^# (\w+ = )", r"\1", text))
    assert {t: set(keys) for t, keys in written.items()} == {
        t: set(keys) for t, keys in config.SETTINGS.items()
    }


def test_environment_wins_over_file() -> None:
    """GFLOW_<TABLE>__<KEY> replaces what a file says."""
    settings = load("[resources]\ncpus = 2\n", GFLOW_RESOURCES__CPUS="3")
    assert settings["resources"]["cpus"] == 3


def test_flags_win_over_environment() -> None:
    """What stands on the command line wins over everything."""
    settings = config.load({"GFLOW_RESOURCES__CPUS": "3"}, {"resources": {"cpus": 5}}, texts={})
    assert settings["resources"]["cpus"] == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[resources]\ncpu = 2\n", ["resources.cpu", "gflow.toml", "did you mean cpus"]),
        ("[resurces]\ncpus = 2\n", ["[resurces]", "did you mean resources"]),
        ("[resources]\ncpus = -1\n", ["resources.cpus", "at least 1"]),
        ("[resources]\ncpus = 1.5\n", ["resources.cpus", "whole number"]),
        ('[persistence]\ndurability = "quick"\n', ["durability", "full, relaxed"]),
        ('[resources]\nmemory_bytes = "20Q"\n', ["memory_bytes", "20G"]),
        ("[scheduler]\ngrace_period_s = nan\n", ["grace_period_s", "duration"]),
        ("[scheduler]\nage_weight = -1\n", ["age_weight", "at least 0"]),
        ("[quota]\ndefault_user = {running = 2}\n", ["quota.default_user", "running_jobs"]),
        ("[quota]\nusers = {ann = 3}\n", ["quota.users", "table of limits"]),
        ("[quota]\nusers = {ann = {running_jobs = -3}}\n", ["quota.users", "negative"]),
        ("[resources\n", ["gflow.toml"]),
        ("resources = 3\n", ["resources", "must be a table"]),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(text: str, words: list[str]) -> None:
    """A wrong key or value is named, with its file and what would be right."""
    with pytest.raises(ConfigError) as caught:
        load(text)
    message = str(caught.value)
    assert "\n" not in message.strip().splitlines()[0]
    assert all(word in message for word in words), message


def test_reference_tables_are_known() -> None:
    """Tables of the reference's gflow.toml may stand in the same file."""
    assert load('[daemon]\nport = 59000\n[executor]\ntype = "tmux"\n').as_dict()


def test_missing_named_file_is_refused() -> None:
    """GFLOW_CONFIG must name a file that is there."""
    with pytest.raises(ConfigError, match="no such file"):
        config.load({"GFLOW_CONFIG": "/nonexistent/gflow.toml"})


def test_files_are_read_lowest_precedence_first(tmp_path: Path) -> None:
    """The user's file stands above /etc."""
    assert config.config_files({"XDG_CONFIG_HOME": str(tmp_path)}) == [
        "/etc/gflow/gflow.toml",
        str(tmp_path / "gflow" / "gflow.toml"),
    ]


def test_quotas_of_the_configuration() -> None:
    """Defaults and names; the reference's words are understood, a variable is written in one."""
    settings = load(
        "[quota.users.ann]\nmax_running_gpus = 2\nrunning_jobs = 4\n",
        GFLOW_QUOTA__DEFAULT_USER="pending_jobs=100, gpu_hours_per_week=1.5",
    )
    assert settings["quota"]["users"] == {"ann": {"running_gpus": 2.0, "running_jobs": 4.0}}
    assert settings["quota"]["default_user"] == {"pending_jobs": 100.0, "gpu_hours_per_week": 1.5}
