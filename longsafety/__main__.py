"""``python -m longsafety``: compose → settle → freeze → launch."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from longsafety.configuration.compose import CONF, compose_jobs, normalise, register_plugins
from longsafety.configuration.settle import settle
from longsafety.errors import LongSafetyError
from longsafety.pipeline.launch import launch


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_flags(config: Any) -> None:
    """Answers --help, --cfg, --info and shell completion; a run does not come here."""


def main() -> None:
    """The console script."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    known, rest = parser.parse_known_args()
    if any(argument.startswith("-") for argument in rest):
        register_plugins()
        sys.argv = [sys.argv[0], *normalise(sys.argv[1:])]
        _hydra_flags()
        return
    try:
        sys.exit(launch(settle(compose_jobs(rest, known.config_dir)), command=["longsafety", *sys.argv[1:]]))
    except LongSafetyError as error:
        sys.exit(_failed(str(error)))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(_failed(str(error) or str(error.__cause__)))
    except KeyboardInterrupt:
        sys.exit(_failed("stopped; the same command goes on where it was", code=130))


def _failed(message: str, code: int = 2) -> int:
    print(f"longsafety: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
