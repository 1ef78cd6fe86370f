"""The first screen of a report as a PNG under 300 KB, for the README.

python tests/benchmarks/report_picture.py REPORT.html PICTURE.png          (needs Chromium)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT, SCALE = 1200, 1240, 1.25
MAX_BYTES = 300_000
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
]  # fmt: skip


def draw(page: Path, picture: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium and no google-chrome found; install one of them")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [
                browser, *FLAGS, f"--user-data-dir={folder}/profile", f"--screenshot={shot}",
                f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}", page.resolve().as_uri(),
            ],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        Image.open(shot).convert("RGB").quantize(128, method=Image.Quantize.MAXCOVERAGE).save(picture, optimize=True)
    if (size := picture.stat().st_size) > MAX_BYTES:
        raise SystemExit(f"{picture}: {size:,} bytes, more than {MAX_BYTES:,}; lower HEIGHT or SCALE")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
