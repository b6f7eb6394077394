"""Under which conditions a command runs, and what is said when it cannot."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.launching.driver import Driver

PROBE = """
import json, os, resource, signal
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1],
    "stdin": os.readlink("/proc/self/fd/0"),
    "ignored": int(status["SigIgn"], 16),
    "blocked": int(status["SigBlk"], 16),
    "session": os.getsid(0) == os.getpid(),
    "cwd": os.getcwd(),
    "umask": os.umask(0),
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "cpus": sorted(os.sched_getaffinity(0)),
    "environment": dict(os.environ),
}))
"""


def probe(launcher: Driver, **fields: object) -> dict[str, object]:
    """What a command sees of itself (Python ignores SIGPIPE and SIGXFSZ by itself)."""
    end = launcher.run(sys.executable, "-I", "-c", PROBE, **fields)
    assert end["exit_code"] == 0, launcher.log()
    answer: dict[str, object] = json.loads(launcher.log())
    return answer


PYTHON_IGNORES = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
FORKED = {"nice": 3}


@pytest.mark.parametrize("fields", [{}, FORKED], ids=["spawned", "forked"])
class TestConditions:
    """The same for both ways of starting."""

    def test_descriptors_are_exactly_three(self, launcher: Driver, fields: dict) -> None:
        """Nothing of the scheduler's is open in a job."""
        assert probe(launcher, **fields)["fds"] == [0, 1, 2]

    def test_standard_input_is_empty(self, launcher: Driver, fields: dict) -> None:
        """A command that reads ends at once."""
        assert probe(launcher, **fields)["stdin"] == "/dev/null"

    def test_no_signal_is_ignored(self, launcher: Driver, fields: dict) -> None:
        """All dispositions are the default ones, the C library's own included."""
        ignored = probe(launcher, **fields)["ignored"]
        assert isinstance(ignored, int) and ignored & ~PYTHON_IGNORES == 0

    def test_no_signal_is_blocked(self, launcher: Driver, fields: dict) -> None:
        """What the shim blocks for itself is not inherited."""
        assert probe(launcher, **fields)["blocked"] == 0

    def test_the_session_is_its_own(self, launcher: Driver, fields: dict) -> None:
        """No terminal and no process group is shared."""
        assert probe(launcher, **fields)["session"] is True

    def test_the_folder_is_as_ordered(self, launcher: Driver, tmp_path: Path, fields: dict) -> None:
        """The command runs where the submitter was."""
        assert probe(launcher, cwd=str(tmp_path), **fields)["cwd"] == str(tmp_path)

    def test_the_umask_is_as_ordered(self, launcher: Driver, fields: dict) -> None:
        """Files of the job get the submitter's permissions."""
        assert probe(launcher, umask=0o027, **fields)["umask"] == 0o027

    def test_the_file_limit_is_not_the_launchers(self, launcher: Driver, fields: dict) -> None:
        """The launcher raises its own limit, and no job sees that."""
        assert probe(launcher, **fields)["files"] == launcher.files_limit

    def test_cpus_are_bound_when_asked_for(
        self, tmp_path: Path, launcher: Driver, fields: dict
    ) -> None:
        """With ``cpu_affinity`` a job runs on the processors of its cpu ids."""
        state_dir = tmp_path / "bound"
        state_dir.mkdir()
        bound = Driver(state_dir, cpu_affinity=True)
        last = len(os.sched_getaffinity(0)) - 1
        try:
            seen = probe(bound, cpu_ids=[last], **fields)["cpus"]
        finally:
            bound.close()
        assert seen == [sorted(os.sched_getaffinity(0))[last]]


def test_niceness_is_as_ordered(launcher: Driver) -> None:
    """A job yields to others as its submitter did."""
    assert probe(launcher, nice=7)["nice"] == 7


def test_limits_are_as_ordered(launcher: Driver) -> None:
    """Resource limits of the submitter hold for the job."""
    seen = probe(launcher, rlimits=[["NOFILE", 123, 456], ["CORE", 0, 0]])
    assert (seen["files"], seen["core"]) == ([123, 456], [0, 0])


def test_the_environment_is_the_submitters_and_ours(launcher: Driver) -> None:
    """Nothing else comes in; allocation and array are described."""
    seen = probe(
        launcher,
        env={"PATH": os.environ["PATH"], "A": "b=c\nd"},
        array_id=1,
        task=3,
        task_min=1,
        task_max=9,
        task_count=5,
        cpus=2,
        cpu_ids=[0, 1],
        gpu_ids=[2, 3],
        memory_bytes=1000,
        job_id=1,
        output_path=str(launcher.state_dir / "logs" / "1.log"),
    )["environment"]
    assert isinstance(seen, dict)
    seen.pop("LC_CTYPE", None)  # Python's own doing
    mark = seen.pop("GFLOW_ATTEMPT_ID")
    assert mark.endswith(":1.1")
    reason_path = seen.pop("GFLOW_SIGNAL_REASON_FILE")
    assert reason_path.startswith(str(launcher.state_dir)) and not os.path.exists(reason_path)
    assert seen == {
        "PATH": os.environ["PATH"],
        "A": "b=c\nd",
        "GFLOW_JOB_ID": "1",
        "GFLOW_JOB_NAME": "test",
        "GFLOW_ATTEMPT": "1",
        "GFLOW_ARRAY_JOB_ID": "1",
        "GFLOW_ARRAY_TASK_ID": "3",
        "GFLOW_ARRAY_TASK_MIN": "1",
        "GFLOW_ARRAY_TASK_MAX": "9",
        "GFLOW_ARRAY_TASK_COUNT": "5",
        "GFLOW_CPUS": "2",
        "GFLOW_CPU_IDS": "0,1",
        "GFLOW_MEMORY_BYTES": "1000",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "2,3",
    }


def test_without_gpus_no_card_is_visible(launcher: Driver) -> None:
    """A job that asked for no card sees none."""
    environment = probe(launcher)["environment"]
    assert isinstance(environment, dict) and environment["CUDA_VISIBLE_DEVICES"] == ""


# --- what cannot start ---------------------------------------------------------------------------


def failure(launcher: Driver, *command: str, **fields: object) -> str:
    launcher.start(*command, **fields)
    report = launcher.wait_for("start_failed")
    assert report["transient"] is False
    message: str = report["message"]
    return message


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """An executable text file with a first line that leads nowhere."""
    path = tmp_path / "script"
    path.write_text("#!/no/such/interpreter -x\nexit 0\n")
    path.chmod(0o700)
    return path


@pytest.mark.parametrize("fields", [{}, FORKED], ids=["spawned", "forked"])
class TestFailures:
    """The operating system's words, with the path that they are about."""

    def test_missing_program(self, launcher: Driver, fields: dict) -> None:
        """A path that is not there is named."""
        message = failure(launcher, "/no/such", **fields)
        assert message == "cannot start: /no/such: No such file or directory"

    def test_unknown_word(self, launcher: Driver, fields: dict) -> None:
        """A word that no folder of PATH has is named."""
        message = failure(launcher, "no-such-word", **fields)
        assert message == "cannot start: no-such-word: No such file or directory"

    def test_empty_word(self, launcher: Driver, fields: dict) -> None:
        """An empty first word is no program."""
        message = failure(launcher, "", **fields)
        assert message == "cannot start: '': No such file or directory"

    def test_missing_folder(self, launcher: Driver, fields: dict) -> None:
        """A working folder that is not there is named."""
        message = failure(launcher, "true", cwd="/no/folder", **fields)
        assert message == "cannot start: /no/folder: No such file or directory"

    def test_not_executable(self, launcher: Driver, fields: dict) -> None:
        """A file without the permission is named."""
        message = failure(launcher, "/etc/passwd", **fields)
        assert message == "cannot start: /etc/passwd: Permission denied"

    def test_bad_interpreter(self, launcher: Driver, script: Path, fields: dict) -> None:
        """The interpreter that is missing is named, not only the script that is there."""
        message = failure(launcher, str(script), **fields)
        reason = "bad interpreter: /no/such/interpreter: No such file or directory"
        assert message == f"cannot start: {script}: {reason}"

    def test_foreign_program(self, launcher: Driver, tmp_path: Path, fields: dict) -> None:
        """A program of another architecture is refused in the kernel's words."""
        path = tmp_path / "foreign"
        path.write_bytes(b"\x7fELF" + b"\0" * 100)
        path.chmod(0o700)
        assert failure(launcher, str(path), **fields) == (
            f"cannot start: {path}: Exec format error"
        )

    def test_huge_argument(self, launcher: Driver, fields: dict) -> None:
        """An argument beyond the kernel's limit is refused in its words."""
        message = failure(launcher, "/bin/true", "x" * 200_000, **fields)
        assert message == "cannot start: /bin/true: Argument list too long"

    def test_huge_environment(self, launcher: Driver, fields: dict) -> None:
        """So is an environment of many megabytes."""
        environment = {f"V{number}": "x" * 100_000 for number in range(50)}
        message = failure(launcher, "/bin/true", env=environment, **fields)
        assert message == "cannot start: /bin/true: Argument list too long"

    def test_nul_byte(self, launcher: Driver, fields: dict) -> None:
        """A NUL byte cannot be passed on, and is not cut off at."""
        message = failure(launcher, "/bin/echo", "a\0b", **fields)
        assert message == "cannot start: embedded null byte"

    def test_output_that_cannot_be_opened(self, launcher: Driver, fields: dict) -> None:
        """The output file's path is named."""
        message = failure(launcher, "/bin/true", output_path="/no/dir/out", **fields)
        assert message == "cannot start: /no/dir/out: No such file or directory"

    def test_output_that_nobody_reads(self, launcher: Driver, tmp_path: Path, fields: dict) -> None:
        """A FIFO without a reader does not hold the job for ever."""
        os.mkfifo(tmp_path / "fifo")
        message = failure(launcher, "/bin/true", output_path=str(tmp_path / "fifo"), **fields)
        assert message == f"cannot start: {tmp_path}/fifo: No such device or address"


def test_a_failed_start_is_in_the_run_file(launcher: Driver) -> None:
    """A supervisor that was down meanwhile finds the reason."""
    failure(launcher, "/no/such")
    launcher.ask("scan")
    found = launcher.wait_for("found")
    assert (found["verdict"], found["message"]) == (
        "failed",
        "cannot start: /no/such: No such file or directory",
    )


def test_a_full_disk_is_not_the_jobs_fault(small_disk: Path) -> None:
    """What the machine is short of passes: the start is to be tried again."""
    fill(small_disk)
    driver = Driver(small_disk)
    try:
        driver.start("/bin/true")
        assert driver.wait_for("start_failed")["transient"] is True
        (small_disk / "ballast").unlink()
        assert driver.run("/bin/true")["exit_code"] == 0
    finally:
        driver.close()


def test_after_a_failure_the_next_one_runs(launcher: Driver) -> None:
    """One bad order does not harm the next."""
    failure(launcher, "/no/such")
    assert launcher.run("/bin/true", job_id=2)["exit_code"] == 0


def test_the_same_attempt_never_starts_twice(launcher: Driver, tmp_path: Path) -> None:
    """A start that is sent again is answered by what became of the first one."""
    path = tmp_path / "lines"
    launcher.run("/bin/sh", "-c", f"echo x >> {path}")
    launcher.start("/bin/sh", "-c", f"echo x >> {path}")
    found = launcher.wait_for("found")
    assert (found["verdict"], found["exit_code"]) == ("ended", 0)
    assert path.read_text() == "x\n"


def test_a_start_sent_twice_while_it_runs_is_answered(launcher: Driver) -> None:
    """While the command runs, the answer says that it does, and who it is."""
    launcher.start("sleep", "100")
    started = launcher.wait_for("started")
    launcher.start("sleep", "100")
    found = launcher.wait_for("found")
    assert (found["verdict"], found["process"]) == ("running", started["process"])


def fill(disk: Path) -> None:
    """Leave no room."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def test_an_attempt_that_failed_for_now_can_be_made_again_at_once(small_disk: Path) -> None:
    """The same attempt, while its first shim is still leaving."""
    driver = Driver(small_disk)
    try:
        driver.drain()
        for _ in range(5):
            fill(small_disk)
            driver.start("/bin/true")
            driver.wait_for("start_failed", transient=True)
            (small_disk / "ballast").unlink()
        assert driver.run("/bin/true")["exit_code"] == 0
    finally:
        driver.close()
