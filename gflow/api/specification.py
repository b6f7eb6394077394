"""From a JSON spec to values of the model, or to one clear sentence.

A spec is an object with the keys of ``FIELDS`` and ``resources`` one with those of
``RESOURCE_FIELDS`` (DESIGN, section 7). Unknown keys are refused with the nearest known one. Who
the submitter is comes from the peer alone: keys that claim it (``uid`` and the like) are ignored.
Environment and script become blobs: sorted compact JSON (or text), zlib level 1, named by SHA-256
of the uncompressed bytes. A Parser belongs to one request: specs with equal environments share one
blob.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Generator, Mapping
from typing import Any

from gflow.api import field
from gflow.api.field import Invalid
from gflow.api.operations import JobReference, Peer, Submission
from gflow.api.quantity import nearest, quoted
from gflow.api.surroundings import Limit
from gflow.errors import Refused
from gflow.model import parameter
from gflow.model.job import ArraySpec, Dependency, Spec
from gflow.model.resources import Resources

Check = Callable[[Any], Any]
References = Mapping[JobReference, int]

#: Identity is never read from a message; these keys may be there and mean nothing.
IGNORED = frozenset({"user", "uid", "gid", "pid"})
#: Bytes handled between two moments at which others may run.
_SLICE_BYTES = 1 << 16
#: Slurm's default (slurm.conf(5), max_script_size).
_SCRIPT_BYTES = 4 << 20
_ENV_BYTES = 16 << 20

RESOURCE_FIELDS: dict[str, Check] = {
    "cpus": field.integer(1, 1 << 16),
    "memory_bytes": field.integer(0, 1 << 53),
    "gpus": field.integer(0, 1024),
    "gpu_memory_bytes": field.integer(0, 1 << 53),
    "gpu_shared": field.boolean,
    "gres": field.counts,
    "exclusive": field.boolean,
    "gpus_allowed": field.integers(0, 1023),
}

#: What can also be changed while a job exists; null clears (the default comes back).
CHANGEABLE: dict[str, Check] = {
    "name": field.text(1024),
    "time_limit_s": field.optional(field.number(0.001, field.MAX_SECONDS)),
    "priority": field.integer(-(1 << 31), (1 << 31) - 1),
    "begin_at": field.optional(field.number(0, 1 << 36)),
    "nice": field.integer(-20, 19),
    "retry_delay_s": field.number(0, field.MAX_SECONDS),
    "retries": field.retries,
    "requeue": field.boolean,
    "project": field.optional(field.text(256, empty=False)),
    "group": field.optional(field.text(256, empty=False)),
    "group_limit": field.optional(field.integer(1, 1 << 20)),
    "grace_period_s": field.optional(field.number(0, 86400)),
    "linger": field.boolean,
    "on_end": field.optional(field.shell_line),
    "warning": field.optional(field.warning),
    "max_output_bytes": field.optional(field.integer(0, 1 << 53)),
    "comment": field.optional(field.text(64 << 10)),
    "dependencies": field.dependencies,
    "dependency_mode": field.choice("all", "any"),
    "kill_on_invalid_dependency": field.boolean,
    "output_path": field.optional(field.path),
    "error_path": field.optional(field.path),
    "open_mode": field.choice("append", "truncate"),
    "resources": field.mapping,
    "labels": field.strings,
}

#: What only an update can say.
_UPDATE_FIELDS: dict[str, Check] = {
    **CHANGEABLE,
    "command": field.command,
    "script": field.text(_SCRIPT_BYTES, empty=False),
    "args": field.words,
    "params": field.strings,
    "array_limit": field.optional(field.integer(1, (1 << 31) - 1)),
    "top": field.integer(0, (1 << 31) - 1),
}

FIELDS: dict[str, Check] = {
    **CHANGEABLE,
    "command": field.command,
    "script": field.text(_SCRIPT_BYTES, empty=False),
    "args": field.words,
    "cwd": field.absolute_path,
    "env": field.mapping,
    "umask": field.integer(0, 0o777),
    "pty": field.boolean,
    "rlimits": field.rlimits,
    "hold": field.boolean,
    "array": field.array,
    "params": field.strings,
    "sweep": field.sweep,
    "array_limit": field.integer(1, (1 << 31) - 1),
}

#: Fields whose checked value is the Spec's, unchanged.
_PLAIN_FIELDS = frozenset(
    (
        "time_limit_s",
        "priority",
        "begin_at",
        "nice",
        "retry_delay_s",
        "retries",
        "requeue",
        "project",
        "group",
        "group_limit",
        "grace_period_s",
        "linger",
        "on_end",
        "warning",
        "max_output_bytes",
        "comment",
        "kill_on_invalid_dependency",
        "output_path",
        "error_path",
        "open_mode",
        "umask",
        "rlimits",
        "params",
        "sweep",
        "labels",
    )
)


class Parser:
    """Specs of one request.

    ``references`` gives the id of every job that dependencies name otherwise than by id, and may
    grow between specs. ``request`` is the Idempotency-Key. ``inherited`` are limits that a job has
    without asking: they are left out of its spec. ``pty``: whether jobs that do not say get a
    terminal.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        max_array_tasks: int = 1_000_000,
        pty: bool = False,
        references: References | None = None,
        request: str | None = None,
        inherited: frozenset[Limit] = frozenset(),
    ) -> None:
        self._peer = peer
        self._inherited = inherited
        self._max_array_tasks = max_array_tasks
        self._pty = pty
        self._references: References = {} if references is None else references
        self._request = request
        self._blobs: dict[str, bytes] = {}
        #: The environment before, and its key: in a list most have the same.
        self._last_environment: tuple[dict[str, Any], str] | None = None

    def parse(self, raw: object) -> Submission:
        """One spec, in one go. Raises Refused."""
        steps = self.steps(raw)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def steps(self, raw: object) -> Generator[None, None, Submission]:
        """The same in short steps; the generator's value is the Submission."""
        try:
            values = checked(raw, FIELDS, "job")
            script = yield from self._script(values)
            environment = yield from self._environment(values)
            if "rlimits" in values:
                limits = values["rlimits"]
                values["rlimits"] = tuple([one for one in limits if one not in self._inherited])
            spec = self._spec(values, script, environment)
        except Invalid as error:
            raise Refused(Refused.INVALID, f"cannot submit job: {error}") from None
        keys = [key for key in (script, environment) if key is not None]
        blobs = {key: self._blobs[key] for key in keys}
        return Submission(spec=spec, hold=bool(values.get("hold")), blobs=blobs)

    def _spec(self, values: dict[str, Any], script: str | None, env: str | None) -> Spec:
        command, args = _command_line(values)
        name = values.get("name") or _default_name(command)
        mode, conditions = values.get("dependencies") or ("all", ())
        resources = _resources(values.get("resources") or {})
        _check_retries(values, resources)
        return Spec(
            name=name,
            user=self._peer.user or str(self._peer.uid),
            uid=self._peer.uid,
            gid=self._peer.gid,
            command=command,
            cwd=values.get("cwd") or "/",
            script=script,
            args=args,
            env=env,
            resources=resources,
            dependencies=resolved(conditions, self._references),
            dependency_mode=values.get("dependency_mode") or mode,
            array=self._array(values),
            request=self._request,
            pty=self._terminal(values),
            **{key: value for key, value in values.items() if key in _PLAIN_FIELDS},
        )

    def _terminal(self, values: dict[str, Any]) -> bool:
        """Whether it runs on a terminal, which has one output only."""
        asked = values.get("pty")
        if asked and values.get("error_path") is not None:
            raise Invalid("a job on a terminal (pty) has one output: error_path cannot be another")
        return self._pty and values.get("error_path") is None if asked is None else bool(asked)

    def _array(self, values: dict[str, Any]) -> ArraySpec | None:
        """The array that is asked for; a sweep is one, of its combinations."""
        value, sweep, most = values.get("array"), values.get("sweep"), values.get("array_limit")
        if value is None and not sweep:
            if most is not None:
                raise Invalid("array_limit belongs to an array (--array 1-10) or a sweep (--param)")
            return None
        combinations = parameter.size(sweep) if sweep else 0
        ranges, limit = value or (((1, combinations, 1),), None)
        tasks = sum((last - first) // step + 1 for first, last, step in ranges)
        if sweep and tasks != combinations:
            raise Invalid(
                f"the array has {tasks} tasks and the sweep {combinations} combinations: "
                "leave the array out, or bound it with array_limit"
            )
        if sweep and {name for name, _ in values.get("params", ())} & {*parameter.names(sweep)}:
            raise Invalid("sweep names a parameter that params gives a value")
        if limit is not None and most is not None:
            raise Invalid("the limit of the array is given twice: in array and as array_limit")
        limit = most if limit is None else limit
        if tasks > self._max_array_tasks:
            raise Invalid(
                f"the array has {tasks} tasks and at most {self._max_array_tasks} are allowed "
                "([limits] max_array_tasks)"
            )
        return ArraySpec(ranges=ranges, limit=limit)

    # --- blobs ------------------------------------------------------------------------------

    def _script(self, values: dict[str, Any]) -> Generator[None, None, str | None]:
        text = values.get("script")
        if text is None:
            return None
        return (yield from pack(text.encode(), self._blobs))

    def _environment(self, values: dict[str, Any]) -> Generator[None, None, str | None]:
        variables = values.get("env")
        if variables is None:
            return None
        if self._last_environment is not None and self._last_environment[0] == variables:
            return self._last_environment[1]
        text: list[str] = []
        size = 0
        for count, name in enumerate(sorted(variables)):
            entry = _variable(name, variables[name])
            text.append(entry)
            size += len(entry)
            if size > _ENV_BYTES:
                raise Invalid(f"env is larger than {_ENV_BYTES >> 20} MB")
            if count % 500 == 499:
                yield
        key = yield from pack(("{" + ",".join(text) + "}").encode(), self._blobs)
        self._last_environment = variables, key
        return key


def pack(data: bytes, blobs: dict[str, bytes]) -> Generator[None, None, str]:
    """Add data to the blobs, in short steps; the generator's value is its key."""
    digest = hashlib.sha256()
    slices = [data[at : at + _SLICE_BYTES] for at in range(0, len(data), _SLICE_BYTES)]
    for piece in slices:
        digest.update(piece)
        if len(slices) > 4:
            yield
    key = digest.hexdigest()
    if key not in blobs:
        packer = zlib.compressobj(1)
        packed = []
        for piece in slices:
            packed.append(packer.compress(piece))
            if len(slices) > 1:
                yield
        blobs[key] = b"".join([*packed, packer.flush()])
    return key


def unpack(packed: bytes) -> Generator[None, None, bytes]:
    """The data of a blob, in short steps."""
    reader, pieces = zlib.decompressobj(), []
    while packed:
        pieces.append(reader.decompress(packed, _SLICE_BYTES))
        packed = reader.unconsumed_tail
        yield
    return b"".join([*pieces, reader.flush()])


def parse_changes(raw: object, references: References) -> dict[str, Any]:
    """Changes for an Update: field of Spec or Resources → checked value, None clears.

    Raises Refused. Whether the job may still be changed so is for the core to say. A new script is
    its text here, and a blob's key (of :func:`pack`) for the core.
    """
    try:
        values = checked(raw, _UPDATE_FIELDS, "change", keep_null=True)
        resources = values.pop("resources", None)
        if "dependencies" in values and values["dependencies"] is not None:
            mode, conditions = values["dependencies"]
            values["dependencies"] = resolved(conditions, references)
            values.setdefault("dependency_mode", mode)
        if resources is not None:
            values.update(checked(resources, RESOURCE_FIELDS, "resource", keep_null=True))
        _replace_what_runs(values)
        if not values:
            raise Invalid("no field is named")
    except Invalid as error:
        raise Refused(Refused.INVALID, f"cannot update job: {error}") from None
    return values


def _replace_what_runs(values: dict[str, Any]) -> None:
    """After a command or a script in a change, nothing of what ran before does."""
    if values.get("script") is not None:
        if values.get("command") is not None:
            raise Invalid("it has both a command and a script")
        values.update(command=(), args=values.get("args"))
    elif values.keys() & {"script", "args"}:
        raise Invalid("script and args cannot be cleared or changed alone: name a script")
    elif values.get("command") is not None:
        values.update(script=None, args=None)


def references_of(raw: object) -> set[JobReference]:
    """References in a spec's or change's dependencies that only the supervisor can resolve."""
    dependencies = raw.get("dependencies") if isinstance(raw, dict) else None
    if dependencies is None:
        return set()
    try:
        _, conditions = field.dependencies(dependencies)
    except Invalid:
        return set()  # told when the spec is parsed
    return {
        reference
        for condition in conditions
        for reference in condition.jobs
        if reference.id is None or reference.task is not None
    }


def resolved(
    conditions: tuple[field.Condition, ...], references: References
) -> tuple[Dependency, ...]:
    """The conditions with ids in place of references."""
    return tuple(
        Dependency(
            type=condition.type,
            jobs=tuple(_job_id(reference, references) for reference in condition.jobs),
            delay_s=condition.delay_s,
        )
        for condition in conditions
    )


def _job_id(reference: JobReference, references: References) -> int:
    if reference.id is not None and reference.task is None:
        return reference.id
    if reference not in references:
        raise Invalid("a dependency names a job that does not exist")
    return references[reference]


def checked(
    raw: object,
    fields: Mapping[str, Check],
    what: str,
    *,
    keep_null: bool = False,
    ignored: frozenset[str] = IGNORED,
) -> dict[str, Any]:
    """Values of the known keys, each checked. Nulls are left out unless they clear something.

    Raises Invalid.
    """
    if not isinstance(raw, dict):
        raise Invalid(f"a {what} must be an object, not {field.kind(raw)}")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        check = fields.get(key)
        if check is None:
            if key in ignored:
                continue
            raise Invalid(unknown_key(key, fields))
        if value is not None:
            try:
                values[key] = check(value)
            except Invalid as error:
                raise Invalid(f"{key} {error}") from None
        elif keep_null:
            values[key] = None
    return values


def unknown_key(key: str, known: Mapping[str, object]) -> str:
    """A sentence about a key that is not known."""
    near = nearest(key, [*known])
    hint = f"; did you mean {near}?" if near else ""
    return f"the key {quoted(key)} is unknown{hint}"


def _resources(raw: dict[str, Any]) -> Resources:
    values = checked(raw, RESOURCE_FIELDS, "resource")
    resources = Resources(**values)
    if resources.gpu_shared and not resources.gpu_memory_bytes:
        raise Invalid(
            "sharing gpus (gpu_shared) needs the memory on each: gpu_memory_bytes, --gpu-memory 20G"
        )
    for name in ("gpu_shared", "gpu_memory_bytes", "gpus_allowed"):
        if getattr(resources, name) and not resources.gpus:
            raise Invalid(f"{name} says which gpus, and none are asked for: gpus: 1, --gpus 1")
    allowed = len(resources.gpus_allowed)
    if allowed and allowed < resources.gpus:
        raise Invalid(
            f"{resources.gpus} gpus are wanted and {allowed} allowed (gpus_allowed): "
            f"allow as many, or ask for {allowed}"
        )
    return resources


def _check_retries(values: dict[str, Any], resources: Resources) -> None:
    """Refuse rules that would give the next attempt more of what was never limited."""
    asked = {
        "memory": resources.memory_bytes,
        "gpu_memory": resources.gpu_memory_bytes,
        "time": values.get("time_limit_s"),
    }
    for rule in values.get("retries") or ():
        for name, _ in rule.scale:
            if name in asked and not asked[name]:
                raise Invalid(
                    f"retries change {name} for {rule.cause}, but the job names no {name}"
                )


def _command_line(values: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    command, args = values.get("command"), values.get("args") or ()
    has_script = values.get("script") is not None
    if has_script == (command is not None):
        raise Invalid(
            "it has both a command and a script" if has_script else "it needs a command or a script"
        )
    if args and not has_script:
        raise Invalid("args belong to a script; put a command's arguments into command")
    return command or (), args


def _default_name(command: tuple[str, ...]) -> str:
    if not command:
        return "script"
    if command[:2] == field.SHELL and len(command) == 3:
        words = command[2].split(None, 1)
        return words[0].rpartition("/")[2][:1024] if words else "bash"
    return command[0].rpartition("/")[2][:1024] or "job"


def _variable(name: str, value: object) -> str:
    """One entry of the environment's JSON text."""
    try:
        checked_name, checked_value = field.line(name), field.line(value)
    except Invalid as error:
        raise Invalid(f"env: the variable {quoted(name)} {error}") from None
    if not name or "=" in name:
        raise Invalid(f"env: the variable {quoted(name)} has no proper name")
    return f"{json.dumps(checked_name)}:{json.dumps(checked_value)}"
