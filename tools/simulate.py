"""Random histories of the real code on simulated processes, disks and clocks.

``python tools/simulate.py --seeds 1000`` runs as many as one likes; the first broken promise prints
its seed and the command that replays it, exit 1. ``--seed`` runs one and tells its last steps when
it fails. ``--canary`` puts a bug in on purpose: then it is wrong not to fail. ``--core`` runs the
scheduling core alone, with every feature on: never oversubscribed, nobody lower delays who comes
first, every explanation true, everything that can run runs.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.scheduling.history import History
from tests.simulation.canary import CANARIES
from tests.simulation.world import World

STEPS = 200
#: Steps of a failed history that are told.
_TOLD = 40


def history(seed: int, steps: int = STEPS, canary: str | None = None) -> World:
    """Run one history. Raises whatever broke, with the command that replays it as a note."""
    world = World(seed, CANARIES[canary]() if canary else ())
    try:
        world.run(steps)
    except Exception as error:
        error.add_note("\n".join(["The last steps:", *world.story[-_TOLD:], "Replay with:"]))
        error.add_note(f"  {command(seed, steps, canary)}")
        raise
    return world


def core_history(seed: int, steps: int) -> int:
    """The same for the scheduling core alone; how many events there were."""
    history = History(seed)
    try:
        history.run(steps)
        history.finish()
    except Exception as error:
        error.add_note("Replay with:")
        error.add_note(f"  python tools/simulate.py --core --seed {seed} --steps {steps}")
        raise
    return steps


def command(seed: int, steps: int, canary: str | None = None) -> str:
    """What to type to see the same again."""
    words = f"python tools/simulate.py --seed {seed} --steps {steps}"
    return f"{words} --canary {canary}" if canary else words


def main() -> int:
    """0 when every history kept all promises."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many histories")
    parser.add_argument("--seed", type=int, help="run this one alone; else begin at a random one")
    parser.add_argument("--steps", type=int, default=STEPS, help="random steps of each history")
    parser.add_argument("--core", action="store_true", help="the scheduling core alone")
    parser.add_argument("--canary", choices=sorted(CANARIES), help="put this bug in")
    options = parser.parse_args()
    first = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    count = options.seeds if options.seed is None else 1
    began_s, steps = time.monotonic(), 0
    for seed in range(first, first + count):
        try:
            if options.core:
                steps += core_history(seed, options.steps)
            else:
                steps += history(seed, options.steps, options.canary).steps
        except Exception:
            traceback.print_exc()
            return 1
    rate = steps / (time.monotonic() - began_s)
    print(f"{count} histories from seed {first} on, {steps} steps, {rate:.0f} steps per second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
