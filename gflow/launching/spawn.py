"""posix_spawn(3) as the C library has it: a fork that copies no memory.

Python's own leaves the C library's internal signals (32 and 33) ignored in the new program, because
its signal sets cannot name them, and it cannot change the folder. A raw set of all signals can.
"""

from __future__ import annotations

import ctypes
import os

from gflow.launching.prctl import libc

_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80  # <spawn.h>
#: Larger than sigset_t, posix_spawnattr_t (336) and posix_spawn_file_actions_t (80).
_ROOM = 1024

_Buffer = ctypes.c_char * _ROOM
_attributes = _Buffer()
_NULL = os.devnull.encode()


def _check(number: int) -> None:
    if number:
        raise OSError(number, os.strerror(number))


def _prepare() -> None:
    _check(libc.posix_spawnattr_init(_attributes))
    everything = _Buffer.from_buffer_copy(b"\xff" * _ROOM)
    _check(libc.posix_spawnattr_setsigdefault(_attributes, everything))
    _check(libc.posix_spawnattr_setsigmask(_attributes, _Buffer()))
    flags = ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID)
    _check(libc.posix_spawnattr_setflags(_attributes, flags))


_prepare()
_actions_init = libc.posix_spawn_file_actions_init
_actions_open = libc.posix_spawn_file_actions_addopen
_actions_dup2 = libc.posix_spawn_file_actions_adddup2
_actions_destroy = libc.posix_spawn_file_actions_destroy
_posix_spawn = libc.posix_spawn


def spawn(
    path: str,
    argv: list[str],
    environment: dict[str, str],
    out: int,
    error: int,
    device: str | None = None,
) -> int:
    """Run a program in its own session, with default signals, and these descriptors; its pid.

    Standard input is /dev/null, or the terminal ``device``, which so becomes its controlling one
    (setsid comes first); ``out`` and ``error`` may be 0 then. Raises OSError naming ``path``,
    ValueError for embedded NULs.
    """
    files = _Buffer()
    _check(_actions_init(files))
    try:
        if device is None:
            _check(_actions_open(files, 0, _NULL, os.O_RDONLY, 0))
        else:
            _check(_actions_open(files, 0, device.encode(), os.O_RDWR, 0))
        _check(_actions_dup2(files, out, 1))
        _check(_actions_dup2(files, error, 2))
        pid = ctypes.c_int()
        number = _posix_spawn(
            ctypes.byref(pid),
            os.fsencode(path),
            files,
            _attributes,
            _strings(argv),
            _strings([f"{key}={value}" for key, value in environment.items()]),
        )
        if number:
            raise OSError(number, os.strerror(number), path)
        return pid.value
    finally:
        _actions_destroy(files)


def _strings(texts: list[str]) -> ctypes.Array[ctypes.c_char_p]:
    # All in one: a command has some thirty of them.
    strings = os.fsencode("\0".join(texts)).split(b"\0") if texts else []
    if len(strings) != len(texts):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(strings) + 1))(*strings)
