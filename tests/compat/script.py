"""Sixty invocations, the same for the older gflow's commands and for ours, each on a fresh daemon.

What runs, runs until it is cancelled; the rest waits for tomorrow or is held: at the moment of each
invocation both daemons have the same jobs in the same states.
"""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One invocation. ``running``: jobs that must run before it."""

    line: str
    input: str | None = None
    running: tuple[int, ...] = ()


JOB_SCRIPT = """\
#!/bin/bash
# GFLOW --gpus=1
# GFLOW --time=2:00:00
# GFLOW --priority 20
# GFLOW --project=vision
echo script
"""
PARAMETERS = "lr,bs\n0.1,32\n0.01,64\n"

#: ``{later}`` is a begin time, job.sh and params.csv are in the folder.
STEPS = [
    Step("gqueue"),
    Step("ginfo"),
    Step("gbatch sleep 1000"),  # 1
    Step("gbatch -g 1 -n train -t 2:00:00 -m 4G sleep 1000"),  # 2
    Step("gbatch -g 1 --shared --gpu-memory 2G -p 30 sleep 1000", running=(1, 2)),  # 3
    Step("gqueue", running=(1, 2, 3)),
    Step("ginfo"),
    Step("gbatch --begin {later} -P vision echo later"),  # 4
    Step("gbatch --begin {later} job.sh"),  # 5
    Step("gbatch --begin {later} -", "echo from standard input\n"),  # 6
    Step("gbatch --array 1-3 --max-concurrent 2 --begin {later} echo task"),  # 7 8 9
    Step("gbatch --param lr=0.1,0.2 --param s=1:2 --begin {later} train {lr} {s}"),  # 10-13
    Step("gbatch --param-file params.csv --name-template r_{lr} --begin {later} t {lr}"),  # 14 15
    Step("gbatch -d 4 echo child"),  # 16
    Step("gbatch --depends-on-any 4,5 --no-auto-cancel echo any"),  # 17
    Step("gbatch -d @ echo last"),  # 18
    Step("gbatch --dry-run --array 1-2 -g 1 echo a"),
    Step("gbatch --dry-run --param x=1,2 run {x}"),
    Step("gbatch --dry-run job.sh"),
    Step("gbatch -d 999 echo orphan"),
    Step("gbatch --shared -g 1 echo bad"),
    Step("gbatch -p 256 echo bad"),
    Step("gbatch -t 1:2:3:4 echo bad"),
    Step("gbatch -m 4T echo bad"),
    Step("gbatch --array 3-1 echo bad"),
    Step("gbatch --param x echo bad"),
    Step("gbatch --param x=1 --array 1-2 echo bad"),
    Step("gjob hold 4,16"),
    Step("gjob hold 1"),
    Step("gjob show 2"),
    Step("gjob show 4"),
    Step("gjob show 7"),
    Step("gjob show 999"),
    Step("gjob release 16"),
    Step("gjob release 1"),
    Step("gjob update 5 -p 5 -t 30 -g 2 -m 1G"),
    Step("gjob update 5"),
    Step("gjob update 10 --param lr=0.5"),
    Step("gqueue -a"),
    Step("gqueue -s H,R"),
    Step("gqueue -P vision -f JOBID,NAME,ST,USER,PROJECT,TIMELIMIT,MEMORY,NODES"),
    Step("gqueue -j 1,2 -o json"),
    Step("gqueue -j 2 -o csv"),
    Step("gqueue -j 4 -o yaml"),
    Step("gqueue -t"),
    Step("gqueue -n 3 -r priority"),
    Step("gqueue -o xml"),
    Step("gcancel --dry-run 4,1,18"),
    Step("gcancel 18"),
    Step("gcancel 999"),
    Step("gcancel 4"),
    Step("gqueue -c"),
    Step("gctl quota set --user ann --max-running-jobs 7"),
    Step("gctl quota set --default-user --max-queued-jobs 700"),
    Step("gctl quota list"),
    Step("gctl quota remove --user ann"),
    Step("gctl reserve create --user bob --gpus 2 --start 2099-01-01T10:00:00Z --duration 1h30m"),
    Step("gctl reserve list"),
    Step("gctl reserve get 1"),
    Step("gctl reserve cancel 1"),
    Step("gctl show-gpus"),
    Step("gctl set-gpus 1-3"),
    Step("gctl show-gpus"),
    Step("gctl set-gpus 9"),
    Step("gctl set-gpus all"),
    Step("gctl set-limit 7 3"),
    Step("gctl gpu-process list"),
    Step("gstats"),
    Step("gstats -a -o csv"),
    Step("gjob redo 18 -p 7"),
    Step("gjob redo 1"),
    Step("gbatch new fresh"),
    Step("gbatch new fresh"),
    Step("gcancel 18"),
    Step("gcancel x"),
    Step("gqueue -P nothing -o json"),
    Step("gqueue -j 1-3"),
    Step("gqueue -s nonsense"),
    Step("gqueue -g"),
    Step("gjob update 5 --clear-time-limit"),
    Step("gjob log 999"),
    Step("gstats -u all"),
    Step("gbatch --dry-run 'echo a && echo b'"),
    Step("gbatch --nosuch echo"),
    Step("gqueue --interval 3"),
    Step("gjob log 6"),
    Step("gctl reserve list --status nonsense"),
    Step("gctl set-limit 00000000-0000-0000-0000-000000000000 3"),
    Step("gcancel --finish 3"),
    Step("gcancel --fail 999"),
]
