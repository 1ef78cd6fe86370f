"""Ctrl-C reaches the tests' processes, also where the shell that started them ignores it (``make test &``).

Imported before anything asks which signals are ignored.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
