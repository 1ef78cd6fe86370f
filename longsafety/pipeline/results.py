"""A finished sweep as data frames, for notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from longsafety.errors import DataError, first_line
from longsafety.pipeline.recorded_runs import record_of, runs_of
from longsafety.pipeline.run import SWEEP

if TYPE_CHECKING:
    import pandas as pd

    from longsafety.reporting.record import RunRecord


@dataclass(frozen=True)
class Results:
    """The frames of a sweep, each read when it is asked for.

    Each raises DataError, with the file's name, where a file cannot be read.
    """

    folder: Path

    @cached_property
    def _records(self) -> list[tuple[Path, RunRecord]]:
        return [(folder, record_of(folder)) for _, folder in runs_of(self.folder)]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row an arm, scorer, metric, task and length: ``Comparison.scores``."""
        return self._table("scores")

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Differences from the baseline and contrasts on the same items: ``Comparison.paired``."""
        return self._table("paired")

    @cached_property
    def effects(self) -> pd.DataFrame:
        """Differences between the values of what the sweep varies; empty where it varies only mixes."""
        import pandas as pd

        return self._table("effects") if (self.folder / "effects.parquet").is_file() else pd.DataFrame()

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run: its arm, its swept values, lengths, seed, numbers of the training, seconds, and its folder."""
        import pandas as pd

        rows = []
        for folder, record in self._records:
            settings = record.resolved()
            rows.append({
                "arm": record.label, **record.varied, "data_mix": settings.data_mix.name, "model": settings.model.name,
                "max_tokens": settings.length.bench_tokens, "seed": settings.seed,
                **{f"training.{name}": value for name, value in record.training.items()},
                "seconds": sum(record.seconds.values()), "folder": str(folder),
            })  # fmt: skip
        return pd.DataFrame(rows)

    @cached_property
    def answers(self) -> pd.DataFrame:
        """Every raw answer, with its arm: the columns of ``evaluation.answers``."""
        import pandas as pd

        from longsafety.pipeline.compare import answers_of

        return pd.concat(
            [answers_of(folder, record).assign(arm=record.label) for folder, record in self._records], ignore_index=True
        )

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd
        import pyarrow as pa

        file = self.folder / f"{name}.parquet"
        try:
            return pd.read_parquet(file)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(
                f"{file}: is no readable Parquet file ({first_line(error)}); give the sweep's command again to "
                "rewrite it"
            ) from error


def results(folder: str | Path) -> Results:
    """The frames of the sweep in ``folder`` (``outputs/sweeps/NAME-ADDRESS``), or of the newest sweep below it.

    Raises DataError where there is none.
    """
    place = Path(folder).expanduser()
    found = [path for pattern in (SWEEP, f"*/{SWEEP}", f"sweeps/*/{SWEEP}") for path in place.glob(pattern)]
    found = [path for path in found if (path.parent / "scores.parquet").is_file()]
    if not found:
        raise DataError(f"{place}: holds no compared sweep; give a folder of outputs/sweeps, or the outputs")
    return Results(max(found, key=lambda path: path.stat().st_mtime).parent.resolve())
