"""Settings: what may be set, its default, and where a value comes from.

``--flag`` > ``GFLOW_<SECTION>__<KEY>`` > ``~/.config/gflow/gflow.toml`` >
``/etc/gflow/gflow.toml`` > default. ``GFLOW_CONFIG`` names one file that replaces both files.
An unknown key is an error that names the nearest known one. Hot commands load this module, so it
imports tomllib only when a file is there.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from gflow import inheritance
from gflow.errors import ConfigError


class Setting(NamedTuple):
    """One key: its default and what a value must be ("int", "float", "bool", "str", "table", …).

    ``choices`` bounds a "str"; ``minimum`` bounds numbers. A default of None means "not set".
    """

    default: Any
    kind: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None


#: Table → key → setting. conf/gflow.toml documents each one; a test keeps the two equal.
SETTINGS: dict[str, dict[str, Setting]] = {
    "resources": {
        "cpus": Setting(None, "int", minimum=1),
        "memory_bytes": Setting(None, "size", minimum=1),
        "gres": Setting({}, "counts"),
    },
    "gpus": {
        "count": Setting(None, "int", minimum=0),
        "memory_bytes": Setting(None, "size", minimum=1),
        "claim": Setting(True, "bool"),
        "simulated": Setting(0, "int", minimum=0),
        "strategy": Setting("sequential", "str", ("sequential", "random", "packed")),
        "topology": Setting(None, "groups"),
        "quarantine": Setting([], "names"),
        "allowed": Setting([], "names"),
        "health_checks": Setting(True, "bool"),
        "ignore_processes": Setting(
            ["Xorg", "Xwayland", "gnome-shell", "nvidia-cuda-mps-server"], "names"
        ),
        "idle_memory_bytes": Setting(512 << 20, "size", minimum=0),
        "stalled_after_s": Setting(10.0, "duration", minimum=1),
        "idle_report_s": Setting(None, "duration", minimum=1),
        "idle_end_s": Setting(None, "duration", minimum=1),
        "idle_warning_s": Setting(600.0, "duration", minimum=0),
        "idle_signal": Setting(None, "str", ("USR1", "USR2", "HUP", "INT", "TERM", "CONT")),
        "visibility_variables": Setting(["CUDA_VISIBLE_DEVICES"], "names"),
    },
    "scheduler": {
        "default_time_limit_s": Setting(None, "duration", minimum=1),
        "backfill_depth": Setting(100, "int", minimum=1),
        "starvation_after_s": Setting(86400.0, "duration", minimum=0),
        "grace_period_s": Setting(10.0, "duration", minimum=0),
        "keep_finished_s": Setting(3600.0, "duration", minimum=0),
        "keep_finished_count": Setting(10000, "int", minimum=0),
        "cpu_affinity": Setting(False, "bool"),
        "priority_weight": Setting(1000.0, "number", minimum=0),
        "fair_share_weight": Setting(900.0, "number", minimum=0),
        "project_share_weight": Setting(0.0, "number", minimum=0),
        "age_weight": Setting(10.0, "number", minimum=0),
        "fair_share_half_life_s": Setting(7 * 86400.0, "duration", minimum=60),
        "gpu_cost": Setting(16.0, "number", minimum=0),
    },
    "quota": {
        "default_user": Setting({}, "limits"),
        "default_project": Setting({}, "limits"),
        "users": Setting({}, "limits_by_name"),
        "projects": Setting({}, "limits_by_name"),
    },
    "projects": {
        "known_projects": Setting([], "names"),
        "require_project": Setting(False, "bool"),
    },
    "persistence": {
        "durability": Setting("full", "str", ("full", "relaxed")),
        "save_interval_s": Setting(1.0, "duration", minimum=0.01),
        "ack_timeout_s": Setting(5.0, "duration", minimum=0.01),
        "keep_history_s": Setting(365 * 86400.0, "duration", minimum=60),
        "keep_logs": Setting(False, "bool"),
        "network_filesystem": Setting("avoid", "str", ("avoid", "insist")),
    },
    "monitor": {
        "interval_s": Setting(2.0, "duration", minimum=0.1),
    },
    "hooks": {
        "prolog": Setting(None, "path"),
        "epilog": Setting(None, "path"),
        "timeout_s": Setting(60.0, "duration", minimum=0.1),
        "prolog_failure": Setting("hold", "str", ("hold", "quarantine")),
    },
    "limits": {
        "max_array_tasks": Setting(1_000_000, "int", minimum=1),
        "max_live_jobs": Setting(2_000_000, "int", minimum=1),
        "blob_bytes": Setting(512 << 20, "size", minimum=1 << 20),
        "max_output_bytes": Setting(None, "size", minimum=0),
        "connections": Setting(1024, "int", minimum=8),
    },
    "http": {
        "gflow_api": Setting(False, "bool"),
        "listen": Setting("localhost:59000", "str"),
    },
    "access": {
        "mode": Setting("user", "str", ("user", "system")),
        "admins": Setting([], "names"),
    },
    "executor": {
        "type": Setting("process", "str", ("process", "tmux")),
    },
    "client": {
        "autostart": Setting(True, "bool"),
    },
}

#: Limits of a quota, and the reference's words for some of them.
LIMITS = ("running_jobs", "running_cpus", "running_gpus", "pending_jobs", "gpu_hours_per_week")
_LIMIT_ALIASES = {
    "max_running_jobs": "running_jobs",
    "max_running_gpus": "running_gpus",
    "max_queued_jobs": "pending_jobs",
}

#: Tables of the older gflow.toml, which may stand in the same file; see gflow.inheritance.
REFERENCE_TABLES = inheritance.TABLES

_SIZE_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Config:
    """All settings with their values: ``config["persistence"]["durability"]``."""

    def __init__(
        self, values: dict[str, dict[str, Any]], sources: list[str], notes: list[str]
    ) -> None:
        self._values = values
        #: Files that were read, in the order of precedence.
        self.sources = sources
        #: What became of the older gflow's keys, a sentence each.
        self.notes = notes

    def __getitem__(self, table: str) -> dict[str, Any]:
        return self._values[table]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """A copy that may be changed and sent to children."""
        return {table: dict(keys) for table, keys in self._values.items()}


def defaults() -> dict[str, dict[str, Any]]:
    """Every key with its default value."""
    return {
        table: {key: setting.default for key, setting in keys.items()}
        for table, keys in SETTINGS.items()
    }


def config_files(environ: dict[str, str] | None = None) -> list[str]:
    """Files that would be read if they are there, lowest precedence first."""
    env = os.environ if environ is None else environ
    if env.get("GFLOW_CONFIG"):
        return [env["GFLOW_CONFIG"]]
    home = env.get("XDG_CONFIG_HOME") or os.path.join(env.get("HOME", "/"), ".config")
    return ["/etc/gflow/gflow.toml", os.path.join(home, "gflow", "gflow.toml")]


def load(
    environ: dict[str, str] | None = None,
    flags: dict[str, dict[str, Any]] | None = None,
    texts: dict[str, str] | None = None,
) -> Config:
    """Read files and environment, apply ``flags`` (table → key → value) on top.

    ``texts`` (path → content) stands for the files when somebody else has read them already.
    Raises ConfigError with one sentence that names file (or variable) and key.
    """
    env = dict(os.environ) if environ is None else environ
    values = defaults()
    if texts is None:
        texts = read_files(env)
    notes: list[str] = []
    given = [(parse_text(text, path), path) for path, text in texts.items()]
    for tables, source in [*given, (_from_environment(env), "the environment")]:
        notes += _inherit(values, tables, source)
        _merge(values, tables, source)
    _merge(values, flags or {}, "the command line")
    _check_topology(values["gpus"])
    return Config(values, [*texts], notes)


def parse_text(text: str, path: str) -> dict[str, Any]:
    """Tables of a configuration file's text. Raises ConfigError."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"cannot read configuration {path}: {error}") from None


def read_files(environ: dict[str, str]) -> dict[str, str]:
    """Path → content of the configuration files that are there. Raises ConfigError."""
    texts = {}
    for path in config_files(environ):
        try:
            with open(path, encoding="utf-8") as file:
                texts[path] = file.read()
        except (FileNotFoundError, NotADirectoryError):  # the latter: a home that is /dev/null
            if environ.get("GFLOW_CONFIG"):
                raise ConfigError(f"cannot read configuration {path}: no such file") from None
        except OSError as error:
            raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"cannot read configuration {path}: {error}") from None
    return texts


def _from_environment(env: dict[str, str]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    for name, text in env.items():
        if not name.startswith("GFLOW_") or "__" not in name:
            continue
        table, _, key = name.removeprefix("GFLOW_").lower().partition("__")
        tables.setdefault(table, {})[key] = text
    return tables


def _inherit(values: dict[str, dict[str, Any]], tables: dict[str, Any], source: str) -> list[str]:
    """Use what the older gflow's tables say; what became of each key."""
    found = inheritance.translate(tables)
    for one in found:
        if isinstance(one, inheritance.Inherited):
            where = f"{source} (as {one.origin})"
            values[one.table][one.key] = _convert(one.table, one.key, one.value, where)
    return [f"{source}: {inheritance.sentence(one)}" for one in found]


def _merge(values: dict[str, dict[str, Any]], tables: dict[str, Any], source: str) -> None:
    for table, keys in tables.items():
        if table in REFERENCE_TABLES:
            continue
        if table not in SETTINGS:
            raise ConfigError(_unknown(f"table [{table}]", table, [*SETTINGS], source))
        if not isinstance(keys, dict):
            raise ConfigError(f"cannot use {table} in {source}: it must be a table")
        for key, value in keys.items():
            if key not in SETTINGS[table]:
                raise ConfigError(_unknown(f"key {table}.{key}", key, [*SETTINGS[table]], source))
            values[table][key] = _convert(table, key, value, source)


def _check_topology(gpus: dict[str, Any]) -> None:
    """Refuse close cards of which some are known not to be there."""
    if gpus["count"] is None or gpus["simulated"]:
        return  # only the running supervisor knows which indices there are
    missing = {index for group in gpus["topology"] or [] for index in group} - {
        *range(gpus["count"])
    }
    if missing:
        raise ConfigError(
            f"cannot use gpus.topology = {gpus['topology']!r}: there is no card {min(missing)}, "
            f"gpus.count = {gpus['count']}"
        )


def _unknown(what: str, word: str, known: list[str], source: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    return f"cannot use {what} in {source}: unknown; did you mean {near[0]}?"


def _convert(table: str, key: str, value: Any, source: str) -> Any:
    setting = SETTINGS[table][key]
    try:
        converted = _CONVERTERS[setting.kind](value)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"cannot use {table}.{key} = {value!r} in {source}: {error or 'wrong type'}"
        ) from None
    if setting.choices and converted not in setting.choices:
        raise ConfigError(
            f"cannot use {table}.{key} = {value!r} in {source}: "
            f"it must be one of {', '.join(setting.choices)}"
        )
    if setting.minimum is not None and converted < setting.minimum:
        raise ConfigError(
            f"cannot use {table}.{key} = {value!r} in {source}: "
            f"it must be at least {setting.minimum:g}"
        )
    return converted


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("it must be a whole number")
    try:
        return int(value)
    except ValueError:
        raise ValueError("it must be a whole number") from None


def _boolean(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("it must be true or false")


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it must be a string")
    return value


def _path(value: Any) -> str:
    text = _string(value)
    if not os.path.isabs(text) or "\0" in text:
        raise ValueError("it must be an absolute path")
    return text


def _scaled(value: Any, units: dict[str, int], form: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str) and value:
        scale = units.get(value[-1], 0)
        try:
            number = float(value[:-1]) * scale if scale else float(value)
        except ValueError:
            raise ValueError(form) from None
    else:
        raise ValueError(form)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(form)
    return number


def _size(value: Any) -> int:
    return int(_scaled(value, _SIZE_UNITS, 'it must be bytes or a size such as "20G"'))


def _duration(value: Any) -> float:
    return _scaled(value, _DURATION_UNITS, 'it must be seconds or a duration such as "2h"')


def _counts(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise ValueError("it must be a table of whole numbers")
    counts = {str(name): _integer(count) for name, count in value.items()}
    if any(count < 0 for count in counts.values()):
        raise ValueError("a count must not be negative")
    return counts


def _number(value: Any) -> float:
    return _scaled(value, {}, "it must be a number")


def _limits(value: Any) -> dict[str, float]:
    """``{running_jobs = 4}``, or ``running_jobs=4,pending_jobs=100`` in a variable."""
    if isinstance(value, str):
        pairs = [item.partition("=") for item in value.split(",") if item.strip()]
        value = {name.strip(): number.strip() for name, _, number in pairs}
    if not isinstance(value, dict):
        raise ValueError("it must be a table of limits")
    limits: dict[str, float] = {}
    for word, given in value.items():
        name = _LIMIT_ALIASES.get(word, word)
        if name not in LIMITS:
            raise ValueError(f"{word!r} is no limit: {', '.join(LIMITS)}")
        limits[name] = _number(given)
        if limits[name] < 0:
            raise ValueError(f"{word} must not be negative")
    return limits


def _limits_by_name(value: Any) -> dict[str, dict[str, float]]:
    if not isinstance(value, dict):
        raise ValueError("it must be a table of tables: { ann = { running_jobs = 4 } }")
    return {str(name): _limits(limits) for name, limits in value.items()}


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    if not isinstance(value, list):
        raise ValueError("it must be a list of names")
    return [_string(name) for name in value]


def _groups(value: Any) -> list[list[int]]:
    """``[[0, 1], [2, 3]]``, or ``0,1;2,3`` in a variable: each a group of different cards."""
    if isinstance(value, str):
        value = [group.split(",") for group in value.split(";") if group.strip()]
    if not isinstance(value, list) or not all(isinstance(group, list) for group in value):
        raise ValueError("it must be groups of card indices: [[0, 1], [2, 3]]")
    groups = [[_integer(index) for index in group] for group in value]
    for group in groups:
        if any(index < 0 for index in group):
            raise ValueError(f"{min(group)} is no index of a card: they begin with 0")
        if len(group) < 2 or len(set(group)) < len(group):
            raise ValueError(f"{group} is no group: it takes two different cards or more")
    return groups


_CONVERTERS: dict[str, Any] = {
    "int": _integer,
    "bool": _boolean,
    "str": _string,
    "path": _path,
    "size": _size,
    "duration": _duration,
    "number": _number,
    "counts": _counts,
    "limits": _limits,
    "limits_by_name": _limits_by_name,
    "names": _names,
    "groups": _groups,
}
