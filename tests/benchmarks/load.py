"""How time and memory of the command grow with samples, items and runs; a table, a JSON file and a PNG.

python tests/benchmarks/load.py CORPUS [--part samples|items|runs] [--counts 1000 2000 …]

Each point is a command of its own in an empty folder, with the random tiny model at 256 tokens. Memory is the largest
resident size of any of its processes. A sweep's runs share their answers, so that what grows is what each run costs by
itself: its process, scores, comparison, report and MLflow's entries.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
from report_picture import FLAGS
from setting import RESULTS, median_seconds, tell

COUNTS = {
    "samples": (12_500, 25_000, 50_000, 100_000),
    "items": (1_250, 2_500, 5_000, 10_000),
    "runs": (25, 50, 100, 200),
}
COMMON = ["scale=smoke", "trainer=cpu", "data_mix=base", "evaluation.scorers=[likelihood]"]


def typed(part: str, count: int) -> list[str]:
    """The command's settings for one point."""
    if part == "samples":
        return ["stages=[build]", "tracking=none", f"scenario.train_samples={count}", "scenario.bench_items=40"]
    if part == "items":
        return ["stages=[build,evaluate,score]", "tracking=none", f"scenario.bench_items={count}"]
    values = ",".join(f"{0.5 + 0.4 * number / count:.6f}" for number in range(count))
    return ["--multirun", "scenario.bench_items=40", f"evaluation.confidence={values}"]


def measured(part: str, count: int, corpus: str, cache: Path) -> dict[str, float]:
    """Seconds and peak MiB of one command; of a sweep the sizes of its report and of MLflow's store as well."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "longsafety", *COMMON, *typed(part, count)),
            *(f"corpus={corpus}", f"paths.outputs={folder}/outputs", f"paths.cache={cache}"),
        ]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said, _ = process.communicate()
        found = {"count": count, "seconds": time.perf_counter() - began}
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}\n{said[-3000:]}")
        found["peak_mib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        if stages := re.findall(r"^  (\w+) +([\d.]+) s  \w{12}$", said, re.MULTILINE):
            found |= {f"{name}_seconds": float(seconds) for name, seconds in stages if part != "runs"}
        if part == "runs":
            [report] = Path(folder).glob("outputs/sweeps/*/report.html")
            found["report_mib"] = report.stat().st_size / 2**20
            found["mlflow_mib"] = Path(folder, "outputs", "mlflow.db").stat().st_size / 2**20
            found["browser_seconds"] = opened(report)
        return found


def opened(page: Path) -> float:
    """Median seconds in which a browser starts, loads the page and prints its tree, above those of an empty page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return float("nan")
    empty = page.with_name("empty.html")
    empty.write_text("<!doctype html><title>empty</title>", "utf-8")

    def load(one: Path) -> None:
        with tempfile.TemporaryDirectory() as profile:
            subprocess.run(
                [browser, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", one.resolve().as_uri()],
                check=True,
                capture_output=True,
                timeout=300,
            )

    without, whole = median_seconds([partial(load, empty), partial(load, page)])
    return whole - without


def one_point(part: str, count: int, corpus: str, cache: Path) -> dict[str, float]:
    """In a process of its own: the peak of children is that of all there ever were."""
    done = subprocess.run(
        [sys.executable, __file__, corpus, "--part", part, "--point", str(count), "--cache", str(cache)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def draw(found: dict[str, list[dict[str, float]]], file: Path) -> None:
    figure, axes = plt.subplots(2, len(found), figsize=(4 * len(found), 6), squeeze=False, layout="constrained")
    for column, (part, points) in enumerate(found.items()):
        for row, (key, name) in enumerate((("seconds", "seconds"), ("peak_mib", "peak memory of a process, MiB"))):
            axis = axes[row][column]
            axis.plot([point["count"] for point in points], [point[key] for point in points], "o-")
            axis.set(xlabel=part, ylabel=name)
            axis.set_xlim(0, 1.05 * axis.get_xlim()[1])
            axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
            axis.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("--part", choices=COUNTS)
    parser.add_argument("--counts", type=int, nargs="+")
    parser.add_argument("--point", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point is not None:
        print(json.dumps(measured(given.part, given.point, given.corpus, given.cache)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for part, counts in COUNTS.items():
            if given.part in (None, part):
                found[part] = []
                for count in given.counts or counts:
                    found[part].append(one_point(part, count, given.corpus, Path(cache)))
                    print(part, found[part][-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / "load.json"
    points: dict[str, list[dict[str, float]]] = (
        json.loads(kept.read_text("utf-8"))["points"] if kept.exists() else {}
    ) | found
    tell("load", {"points": points})
    draw(points, RESULTS / "load.png")


if __name__ == "__main__":
    main()
