"""What every test finds: the signals of a program in the foreground."""

from __future__ import annotations

import signal

# A shell's background job ignores both, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
