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
        ("[gpus]\ntopology = [0, 1]\n", ["gpus.topology", "[[0, 1], [2, 3]]"]),
        ("[gpus]\ntopology = [[0, 0]]\n", ["gpus.topology", "two different cards"]),
        ("[gpus]\ntopology = [[0, -1]]\n", ["gpus.topology", "-1 is no index"]),
        ("[gpus]\ncount = 2\ntopology = [[0, 2]]\n", ["gpus.topology", "no card 2", "count = 2"]),
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


def test_tables_of_the_older_gflow_are_known() -> None:
    """They may stand in the same file; [executor] is ours as well."""
    settings = load('[daemon]\nport = 59001\n[executor]\ntype = "tmux"\n')
    assert settings["http"]["listen"] == "localhost:59001"
    assert settings["executor"]["type"] == "tmux"


def test_every_key_of_the_older_gflow_is_used_or_named() -> None:
    """Each has one sentence that says which of ours it is, or why it means nothing."""
    settings = load(
        'timezone = "Asia/Tokyo"\n'
        '[daemon]\nhost = "127.0.0.1"\nport = 59001\ngpus = [0, 2]\n'
        'gpu_allocation_strategy = "random"\ngpu_poll_interval_secs = 3\n'
        "[daemon.fair_share]\nenabled = false\nhalf_life_secs = 30\n"
        '[projects]\nknown_projects = ["a"]\nrequire_project = true\n'
        "[quota.default_user]\nmax_queued_jobs = 7\n"
        "[notifications]\nenabled = true\n"
    )
    assert settings["http"]["listen"] == "127.0.0.1:59001"
    assert settings["gpus"]["allowed"] == ["0", "2"]
    assert settings["gpus"]["strategy"] == "random"
    assert settings["scheduler"]["fair_share_weight"] == 0
    assert settings["scheduler"]["fair_share_half_life_s"] == 60
    assert settings["projects"] == {"known_projects": ["a"], "require_project": True}
    assert settings["quota"]["default_user"] == {"pending_jobs": 7}
    said = "\n".join(settings.notes)
    for key in ("host and daemon.port", "gpus", "gpu_allocation_strategy"):
        assert f"daemon.{key} is " in said
    for key in ("daemon.gpu_poll_interval_secs", "timezone", "notifications"):
        assert f"{key} is ignored: " in said
    assert len(settings.notes) == 8


def test_variables_of_the_older_gflow() -> None:
    """Nested ones too, and a single number of a card; what else says so wins in the same place."""
    settings = load(
        "",
        GFLOW_DAEMON__GPUS="3",
        GFLOW_DAEMON__FAIR_SHARE__ENABLED="false",
        GFLOW_DAEMON__PORT="59002",
        GFLOW_HTTP__LISTEN="localhost:59003",
    )
    assert settings["gpus"]["allowed"] == ["3"]
    assert settings["scheduler"]["fair_share_weight"] == 0
    assert settings["http"]["listen"] == "localhost:59003"


def test_an_address_for_everybody_is_not_used() -> None:
    """Only loopback is served: the sentence says so."""
    settings = load('[daemon]\nhost = "0.0.0.0"\n')
    assert settings["http"]["listen"] == "localhost:59000"
    assert any("daemon.host is ignored" in note for note in settings.notes)


def test_a_wrong_value_names_the_older_key() -> None:
    """And the file."""
    with pytest.raises(ConfigError, match=r"daemon\.gpu_allocation_strategy"):
        load('[daemon]\ngpu_allocation_strategy = "best"\n')


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


def test_a_home_that_is_no_folder_has_no_file() -> None:
    """Users of services often have /dev/null for a home."""
    assert config.load({"HOME": "/dev/null"}, texts=None)["access"]["mode"] == "user"


def test_a_folder_in_the_place_of_a_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    """With the operating system's words, and nothing of Python's."""
    with pytest.raises(ConfigError) as refused:
        config.load({"GFLOW_CONFIG": str(tmp_path)})
    assert str(refused.value) == f"cannot read configuration {tmp_path}: Is a directory"


def test_close_cards_can_be_told_in_a_variable() -> None:
    """Groups apart by semicolons, cards by commas."""
    settings = load("", GFLOW_GPUS__TOPOLOGY="0,1; 2,3")
    assert settings["gpus"]["topology"] == [[0, 1], [2, 3]]
