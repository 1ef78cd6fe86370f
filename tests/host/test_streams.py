"""A command whose standard streams were closed writes nothing into the files that it opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from longsafety.host.streams import open_closed
open_closed()
with open(sys.argv[1], "w") as file:
    print("to the output")
    print("to the errors", file=sys.stderr)
    sys.stdout.isatty(), sys.stdin.read()
    import os, subprocess
    subprocess.run(["echo", "from a child"], check=True)
    file.write("kept")
"""


def test_closed_streams_lead_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f'"$@" {closed}', "-", sys.executable, "-c", SCRIPT, str(file)], check=False
        )
        assert (done.returncode, file.read_text()) == (0, "kept")
