"""What is found after the launcher, a shim, or the run file came to harm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from gflow.launching import protocol, runfile
from gflow.process import identity
from tests.launching.driver import Driver, until

BOOT = identity.boot_id()


def scan(launcher: Driver, *known: list[object]) -> list[dict[str, object]]:
    """Everything that is found."""
    launcher.send(protocol.pack({"t": "scan", "known": list(known)}))
    count = launcher.wait_for("scanned")["attempts"]
    found = [launcher.wait_for("found") for _ in range(count)]
    assert len(found) == count
    return found


def known(
    shim: list[int] | None = None,
    process: list[int] | None = None,
    *,
    boot_id: str = BOOT,
    ordered_boot_s: float | None = None,
) -> list[object]:
    """What the supervisor knows of the first attempt of job 1."""
    seen = [one and [boot_id, *one] for one in (shim, process)]
    return [1, 1, *seen, boot_id, ordered_boot_s]


def boot_s() -> float:
    """This moment."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def replace(launcher: Driver) -> None:
    """kill -9 of the launcher, and the next one."""
    launcher.kill()
    launcher.messages.clear()
    launcher.spawn()


def kill_shim(started: dict[str, object]) -> None:
    shim = started["shim"]
    assert isinstance(shim, list)
    os.kill(shim[0], signal.SIGKILL)


# --- the launcher dies ---------------------------------------------------------------------------


def test_jobs_outlive_the_launcher(launcher: Driver) -> None:
    """A killed launcher ends no job; the next one finds it running, with the same identity."""
    launcher.start("sleep", "1000")
    started = launcher.wait_for("started")
    replace(launcher)
    (found,) = scan(launcher)
    assert (found["verdict"], found["process"]) == ("running", started["process"])


def test_an_adopted_job_is_watched(launcher: Driver) -> None:
    """The end of an adopted job is told like any other."""
    launcher.start("/bin/sh", "-c", "read line < fifo; exit 6", cwd=str(launcher.state_dir))
    os.mkfifo(launcher.state_dir / "fifo")
    launcher.wait_for("started")
    replace(launcher)
    scan(launcher)
    (launcher.state_dir / "fifo").write_text("go\n")
    assert launcher.wait_for("exited")["exit_code"] == 6


def test_an_adopted_job_can_be_killed(launcher: Driver) -> None:
    """A kill reaches the shim that another launcher had forked."""
    launcher.start("sleep", "1000")
    launcher.wait_for("started")
    replace(launcher)
    scan(launcher)
    launcher.ask("kill", grace_period_s=5.0)
    assert launcher.wait_for("exited")["signal"] == signal.SIGTERM


@pytest.mark.parametrize("code", [0, 1, 77, 126, 127, 137, 255])
def test_exits_without_a_launcher_are_exact(launcher: Driver, code: int) -> None:
    """What ended while nobody listened is found exactly as it was."""
    launcher.start("/bin/sh", "-c", f"sleep 0.1; exit {code}")
    shim = launcher.wait_for("started")["shim"]
    launcher.kill()
    until(lambda: not identity.is_alive(*shim))
    launcher.spawn()
    (found,) = scan(launcher)
    assert (found["verdict"], found["exit_code"], found["signal"]) == ("ended", code, None)


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV", "ABRT", "PIPE"])
def test_signals_without_a_launcher_are_exact(launcher: Driver, name: str) -> None:
    """So are deaths by signal."""
    launcher.start("/bin/sh", "-c", f"sleep 0.1; kill -{name} $$")
    shim = launcher.wait_for("started")["shim"]
    launcher.kill()
    until(lambda: not identity.is_alive(*shim))
    launcher.spawn()
    (found,) = scan(launcher)
    assert (found["exit_code"], found["signal"]) == (None, int(getattr(signal, f"SIG{name}")))


def test_the_record_comes_back(launcher: Driver) -> None:
    """A job that the store does not know is restored from what was found."""
    launcher.start("sleep", "1000")
    launcher.wait_for("started")
    replace(launcher)
    (found,) = scan(launcher)
    assert found["record"] == {"id": 1, "name": "test"}


def test_the_launcher_ends_with_its_supervisor(launcher: Driver) -> None:
    """EOF on the pipe ends it; the job lives on."""
    launcher.start("sleep", "1000")
    process = launcher.wait_for("started")["process"]
    launcher.channel.close()
    assert launcher.process.wait(10) == 0
    assert identity.is_alive(*process)
    launcher.spawn()


def test_output_goes_on_without_a_launcher(launcher: Driver) -> None:
    """What a job prints meanwhile is complete and in order."""
    launcher.start("/bin/sh", "-c", "for n in 1 2 3 4 5; do echo $n; sleep 0.05; done")
    shim = launcher.wait_for("started")["shim"]
    launcher.kill()
    until(lambda: not identity.is_alive(*shim))
    launcher.spawn()
    assert launcher.log() == "1\n2\n3\n4\n5\n"


# --- a shim dies ---------------------------------------------------------------------------------


def test_a_command_whose_shim_was_killed_is_followed(launcher: Driver) -> None:
    """It is found alive, and it is said that its end will be unknown."""
    launcher.start("sleep", "1000")
    started = launcher.wait_for("started")
    kill_shim(started)
    found = launcher.wait_for("found")
    assert (found["verdict"], found["process"], found["end_unknown"]) == (
        "follow",
        started["process"],
        True,
    )


def test_a_followed_command_ends_as_lost(launcher: Driver) -> None:
    """Even if it may have succeeded: nobody saw it."""
    os.mkfifo(launcher.state_dir / "fifo")
    launcher.start("/bin/sh", "-c", "read line < fifo; exit 0", cwd=str(launcher.state_dir))
    kill_shim(launcher.wait_for("started"))
    launcher.wait_for("found")
    (launcher.state_dir / "fifo").write_text("go\n")
    assert "nobody saw" in launcher.wait_for("lost")["message"]


def test_a_followed_command_can_be_killed(launcher: Driver) -> None:
    """With all of its tree, though nobody is its parent."""
    launcher.start("/bin/sh", "-c", "setsid sleep 1000 & (sleep 1000 &) ; sleep 1000")
    started = launcher.wait_for("started")
    until(lambda: len(launcher.processes()) == 4)
    kill_shim(started)
    launcher.wait_for("found")
    launcher.ask("kill", grace_period_s=0.5)
    launcher.wait_for("lost")
    assert launcher.processes() == []


def test_a_kill_that_the_shim_did_not_live_to_finish(launcher: Driver) -> None:
    """Whoever follows in place of a shim that dies is asked for the kill again."""
    launcher.start("/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
    started = launcher.wait_for("started")
    until(lambda: launcher.log() == "up\n")
    launcher.ask("kill", grace_period_s=1.0)
    launcher.drain()
    kill_shim(started)
    launcher.wait_for("lost")
    assert not launcher.processes()


def test_a_followed_tree_can_be_signalled(launcher: Driver) -> None:
    """Suspending reaches all of it, though nobody is its parent."""
    launcher.start("/bin/sh", "-c", "setsid sleep 1000 & sleep 1000")
    kill_shim(launcher.wait_for("started"))
    launcher.wait_for("found", verdict="follow")
    until(lambda: len(launcher.processes()) == 3)
    launcher.ask("signal", signal=signal.SIGSTOP, tree=True)
    until(lambda: "T" in {identity.process_state(pid) for pid in launcher.processes()})


def test_a_job_that_kills_its_shim_and_ends_is_lost(launcher: Driver) -> None:
    """``kill -9 $PPID`` gains nothing but an unknown end, however early it comes."""
    launcher.start("/bin/sh", "-c", "kill -9 $PPID; exit 0")
    messages: list[dict[str, object]] = []
    until(lambda: launcher.drain_into(messages) and lost_among(messages))
    assert not [message for message in messages if message["t"] == "exited"]


def lost_among(messages: list[dict[str, object]]) -> bool:
    return any("lost" in (message["t"], message.get("verdict")) for message in messages)


def test_a_followed_command_is_found_again(launcher: Driver) -> None:
    """The follower outlives the launcher as the shim did."""
    launcher.start("sleep", "1000")
    kill_shim(launcher.wait_for("started"))
    launcher.wait_for("found")
    until(lambda: b"following" in launcher.run_file().read_bytes())
    replace(launcher)
    (found,) = scan(launcher)
    assert (found["verdict"], found["end_unknown"]) == ("running", True)
    launcher.ask("kill", grace_period_s=1.0)
    launcher.wait_for("lost")
    assert launcher.processes() == []


def test_a_follower_that_could_not_write_is_found_again(launcher: Driver) -> None:
    """With the disk full the run file does not say who follows; the holder of its lock does."""
    launcher.start("sleep", "1000")
    started = launcher.wait_for("started")
    kill_shim(started)
    launcher.wait_for("found")
    until(lambda: b"following" in launcher.run_file().read_bytes())
    before, _, _ = launcher.run_file().read_bytes().rpartition(b"\n\n")
    os.truncate(launcher.run_file(), len(before) + 1)
    assert b"following" not in launcher.run_file().read_bytes()
    replace(launcher)
    (found,) = scan(launcher)
    assert (found["verdict"], found["end_unknown"]) == ("running", True)
    assert found["shim"] != started["shim"]
    launcher.ask("kill", grace_period_s=1.0)
    launcher.wait_for("lost")
    assert launcher.processes() == []


def test_shim_and_launcher_killed_together(launcher: Driver) -> None:
    """The command is found by its identity and followed."""
    launcher.start("sleep", "1000")
    started = launcher.wait_for("started")
    launcher.kill()
    kill_shim(started)
    until(lambda: not identity.is_alive(*started["shim"]))
    launcher.spawn()
    (found,) = scan(launcher)
    assert (found["verdict"], found["process"]) == ("follow", started["process"])


def test_all_killed_together_is_lost(launcher: Driver) -> None:
    """Launcher, shim and command gone without a word: lost, never a success."""
    launcher.start("sleep", "1000")
    started = launcher.wait_for("started")
    launcher.kill()
    kill_shim(started)
    os.kill(started["process"][0], signal.SIGKILL)
    until(lambda: not identity.is_alive(*started["process"]))
    launcher.spawn()
    (found,) = scan(launcher)
    assert found["verdict"] == "lost"


def test_children_of_a_lost_command_are_ended(launcher: Driver) -> None:
    """The command is gone, but its tree is not: it is ended before the job counts as lost."""
    launcher.start("/bin/sh", "-c", "setsid sleep 1000 & sleep 1000")
    started = launcher.wait_for("started")
    until(lambda: len(launcher.processes()) == 3)
    launcher.kill()
    kill_shim(started)
    os.kill(started["process"][0], signal.SIGKILL)
    launcher.spawn()
    (found,) = scan(launcher)
    assert found["verdict"] == "follow"
    launcher.wait_for("lost")
    assert launcher.processes() == []


def test_a_shim_killed_after_the_exit_leaves_it_known(launcher: Driver) -> None:
    """The exit stands; the rest of the tree is swept."""
    launcher.start("/bin/sh", "-c", "sleep 1000 & exit 3", grace_period_s=1000.0, linger=True)
    started = launcher.wait_for("started")
    assert launcher.wait_for("exited")["exit_code"] == 3
    kill_shim(started)
    until(lambda: b"following" in launcher.run_file().read_bytes())
    launcher.ask("kill", grace_period_s=0.5)
    launcher.wait_for("gone")
    assert launcher.processes() == []


# --- the run file comes to harm ------------------------------------------------------------------


def run_and_stop(launcher: Driver) -> Path:
    """A job that has ended with 0 and is forgotten by the launcher; its run file."""
    launcher.run("/bin/true")
    replace(launcher)
    return launcher.run_file()


def test_an_emptied_run_file_is_no_success(launcher: Driver) -> None:
    """Nothing is left of it, so nothing is known."""
    run_and_stop(launcher).write_bytes(b"")
    (found,) = scan(launcher)
    assert found["verdict"] == "lost"


def test_garbage_in_a_run_file_is_no_success(launcher: Driver) -> None:
    """Whatever was written over it."""
    run_and_stop(launcher).write_bytes(b"\xff\x00 garbage\n{}\n")
    (found,) = scan(launcher)
    assert found["verdict"] == "lost"


def test_a_cut_run_file_is_no_success(launcher: Driver) -> None:
    """Without a whole exit line the end is unknown."""
    path = run_and_stop(launcher)
    path.write_bytes(path.read_bytes()[:-10])
    (found,) = scan(launcher)
    assert found["verdict"] == "lost"


def test_a_changed_exit_is_no_success(launcher: Driver) -> None:
    """A line whose checksum is wrong is not believed."""
    path = run_and_stop(launcher)
    path.write_bytes(path.read_bytes().replace(b'"exit_code":0', b'"exit_code":1'))
    (found,) = scan(launcher)
    assert found["verdict"] == "lost"


def test_a_folder_in_place_of_a_run_file_is_lost(launcher: Driver) -> None:
    """The scan goes on whatever stands there."""
    path = run_and_stop(launcher)
    path.unlink()
    path.mkdir()
    (found,) = scan(launcher)
    assert found["verdict"] == "lost"


def test_other_names_are_left_alone(launcher: Driver) -> None:
    """What is not named like a run file is none."""
    launcher.drain()
    for name in ("x", "1", "1.", ".1", "1.1.1", "-1.1", "\u0661.1"):
        (launcher.state_dir / "runs" / name).write_text("")
    assert scan(launcher) == []


def test_a_running_job_outlives_its_run_file(launcher: Driver) -> None:
    """With the folder deleted the job goes on; its end is told by the shim's death: unknown."""
    os.mkfifo(launcher.state_dir / "fifo")
    launcher.start("/bin/sh", "-c", "read line < fifo; exit 0", cwd=str(launcher.state_dir))
    process = launcher.wait_for("started")["process"]
    shutil.rmtree(launcher.state_dir / "runs")
    assert identity.is_alive(*process)
    (launcher.state_dir / "fifo").write_text("go\n")
    messages: list[dict[str, object]] = []
    until(lambda: launcher.drain_into(messages))
    assert messages[0]["t"] in ("found", "exited")
    assert messages[0].get("verdict", "lost") == "lost"


def test_after_the_folder_was_deleted_jobs_start_again(launcher: Driver) -> None:
    """The launcher makes it anew."""
    launcher.run("/bin/true")
    shutil.rmtree(launcher.state_dir / "runs")
    until((launcher.state_dir / "runs" / ".reports").exists)
    assert launcher.run("/bin/sh", "-c", "exit 4", job_id=2)["exit_code"] == 4


def test_an_emptied_run_file_of_a_running_job_gets_its_exit(launcher: Driver) -> None:
    """Later lines stand for themselves: the exit is still exact."""
    os.mkfifo(launcher.state_dir / "fifo")
    launcher.start("/bin/sh", "-c", "read line < fifo; exit 5", cwd=str(launcher.state_dir))
    shim = launcher.wait_for("started")["shim"]
    launcher.run_file().write_bytes(b"garbage without an end")
    replace(launcher)
    (found,) = scan(launcher)
    assert (found["verdict"], found["shim"]) == ("running", shim)
    (launcher.state_dir / "fifo").write_text("go\n")
    assert launcher.wait_for("exited")["exit_code"] == 5


def test_a_running_job_without_a_run_file_is_found(launcher: Driver) -> None:
    """What the store knows of it is enough to find the shim, and to end it."""
    launcher.start("sleep", "1000")
    started = launcher.wait_for("started")
    launcher.run_file().unlink()
    replace(launcher)
    (found,) = scan(launcher, known(started["shim"], started["process"]))
    assert (found["verdict"], found["process"]) == ("running", started["process"])
    launcher.ask("kill", grace_period_s=1.0)
    assert launcher.wait_for("exited")["signal"] == signal.SIGTERM


def test_a_job_of_which_nothing_is_left_is_lost(launcher: Driver) -> None:
    """It had started, and neither a run file nor a process is there."""
    (found,) = scan(launcher, known([2**22 + 1, 5], [2**22 + 2, 5]))
    assert found["verdict"] == "lost"


@pytest.mark.parametrize("nobody", [[0, 0], [0, 5], [1, 1], [2, 1], [-1, 1]])
def test_zeros_in_a_record_name_nobody(launcher: Driver, nobody: list[int]) -> None:
    """A restored record does not know its processes: session 0 is not that of a job."""
    (found,) = scan(launcher, known(nobody, nobody))
    assert found["verdict"] == "lost"


def test_processes_of_another_boot_are_not_ours(launcher: Driver) -> None:
    """The same pid and ticks after a reboot are another process: it is not touched."""
    launcher.start("sleep", "1000", job_id=2)
    other = launcher.wait_for("started")["process"]
    found = scan(launcher, known(other, other, boot_id="another"))
    assert [one["verdict"] for one in found if one["job_id"] == 1] == ["lost"]


def test_a_start_that_left_nothing_never_happened(launcher: Driver) -> None:
    """No run file, no process, and the ledger does not list it: it may be made again."""
    scan(launcher)
    (found,) = scan(launcher, known(ordered_boot_s=boot_s()))
    assert found["verdict"] == "never_started"


def test_after_a_reboot_nothing_is_proved(launcher: Driver) -> None:
    """The name of the run file may not have reached the disk: the attempt may have run."""
    scan(launcher)
    (found,) = scan(launcher, known(boot_id="another", ordered_boot_s=boot_s()))
    assert found["verdict"] == "lost"


def test_without_a_ledger_nothing_is_proved(launcher: Driver) -> None:
    """It was deleted, and whatever had begun is not listed in the next one."""
    ordered_boot_s = boot_s()
    scan(launcher)
    (launcher.state_dir / "attempts").unlink()
    replace(launcher)
    (found,) = scan(launcher, known(ordered_boot_s=ordered_boot_s))
    assert found["verdict"] == "lost"


@pytest.mark.parametrize("told", [True, False])
def test_what_began_and_has_no_run_file_is_lost(launcher: Driver, told: bool) -> None:
    """Whether the store knows of the order or not: it must not begin again."""
    ordered_boot_s = boot_s()
    run_and_stop(launcher)
    shutil.rmtree(launcher.state_dir / "runs")
    (found,) = scan(launcher, *([known(ordered_boot_s=ordered_boot_s)] if told else []))
    assert (found["job_id"], found["attempt"], found["verdict"]) == (1, 1, "lost")


def test_what_is_forgotten_is_not_looked_for(launcher: Driver) -> None:
    """Its end is durable elsewhere."""
    run_and_stop(launcher)
    launcher.ask("forget", attempts=[[1, 1]])
    assert scan(launcher) == []
    replace(launcher)
    assert scan(launcher) == []


def test_what_could_not_start_has_not_begun(launcher: Driver) -> None:
    """Nothing of it is left behind: the same attempt may be made again."""
    launcher.start("/bin/true", prolog="/bin/false")
    assert launcher.wait_for("start_failed")["transient"]
    replace(launcher)
    assert scan(launcher) == []


# --- other machines, boots, processes ------------------------------------------------------------


def rewrite(path: Path, **changes: object) -> None:
    """Change what the first line says, with the right checksum."""
    contents = runfile.parse(path.read_bytes(), path.name)
    path.unlink()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for phase, facts in contents.phases.items():
        facts.pop("phase")
        runfile.append(fd, path.name, phase, {**facts, **(changes if phase == "starting" else {})})
    os.close(fd)


@pytest.fixture
def orphan(launcher: Driver) -> dict[str, object]:
    """A running command whose launcher and shim are dead; a new launcher is there."""
    launcher.start("sleep", "1000")
    started = launcher.wait_for("started")
    launcher.kill()
    kill_shim(started)
    until(lambda: not identity.is_alive(*started["shim"]))
    launcher.spawn()
    return started


def test_another_boot_means_that_the_tree_is_gone(
    launcher: Driver, orphan: dict[str, object]
) -> None:
    """Pids of another boot are nobody's."""
    rewrite(launcher.run_file(), boot_id="another")
    (found,) = scan(launcher)
    assert found["verdict"] == "lost"


@pytest.mark.parametrize("change", [{"machine_id": "another"}, {"folder": "0:0"}])
def test_what_is_foreign_is_not_signalled(
    launcher: Driver, orphan: dict[str, object], change: dict[str, object]
) -> None:
    """In a copied folder nothing is touched, not even when asked."""
    rewrite(launcher.run_file(), **change)
    (found,) = scan(launcher)
    launcher.ask("kill", grace_period_s=0.0)
    launcher.drain()
    process = orphan["process"]
    assert isinstance(process, list)
    assert found["verdict"] == "foreign" and identity.is_alive(*process)


def test_a_reused_pid_is_not_taken_for_the_command(launcher: Driver) -> None:
    """The same pid with other start ticks is another process."""
    launcher.run("/bin/true")
    path = launcher.run_file()
    lines = runfile.parse(path.read_bytes(), path.name).phases
    path.unlink()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for phase in ("starting", "spawning", "started"):
        facts = lines[phase]
        facts.pop("phase")
        if phase == "started":
            facts["process"] = [os.getpid(), 1]
        runfile.append(fd, path.name, phase, facts)
    os.close(fd)
    replace(launcher)
    (found,) = scan(launcher)
    assert found["verdict"] == "lost"


def test_a_failed_scan_entry_does_not_hide_others(launcher: Driver) -> None:
    """Each run file stands for itself."""
    launcher.run("/bin/true")
    launcher.run("/bin/true", job_id=2)
    replace(launcher)
    launcher.run_file(1).write_bytes(b"")
    verdicts = {found["job_id"]: found["verdict"] for found in scan(launcher)}
    assert verdicts == {1: "lost", 2: "ended"}


@pytest.mark.parametrize("adopted", [False, True])
def test_a_stopped_launcher_loses_no_report(launcher: Driver, adopted: bool) -> None:
    """Ends that the full FIFO does not take, or that wait on a line, are told when it goes on."""
    for job_id in (1, 2, 3):
        launcher.start("/bin/sh", "-c", "sleep 0.5; exit 7", job_id=job_id)
    for job_id in (1, 2, 3):
        launcher.wait_for("started", job_id=job_id)
    if adopted:
        replace(launcher)
        scan(launcher)
    launcher.process.send_signal(signal.SIGSTOP)
    fill(launcher.state_dir / "runs" / ".reports")
    until(lambda: not launcher.processes())
    launcher.process.send_signal(signal.SIGCONT)
    ends = [launcher.wait_for("exited", job_id=job_id)["exit_code"] for job_id in (1, 2, 3)]
    assert ends == [7, 7, 7]


def fill(fifo: Path) -> None:
    """Fill the FIFO with reports that are about nobody."""
    fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(fd, b'{"t":"gone","job_id":999,"attempt":1}\n')
    except BlockingIOError:
        os.close(fd)


def test_garbage_in_the_fifo_is_skipped(launcher: Driver) -> None:
    """Whatever somebody writes there, the launcher goes on."""
    launcher.drain()
    with (launcher.state_dir / "runs" / ".reports").open("wb", buffering=0) as fifo:
        fifo.write(b"\xff garbage\n[]\n{}\n\n")
    assert launcher.run("/bin/true")["exit_code"] == 0


def test_json_of_the_found_message_is_flat(launcher: Driver) -> None:
    """No internal phase leaks into what is reported."""
    launcher.run("/bin/true")
    replace(launcher)
    (found,) = scan(launcher)
    assert "phase" not in json.dumps(found)
