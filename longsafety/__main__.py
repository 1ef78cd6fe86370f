"""``python -m longsafety``: compose → settle → launch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from longsafety.configuration.help import help_text
from longsafety.configuration.listing import listing
from longsafety.environment import substitute_letters
from longsafety.errors import ConfigError, LongSafetyError, visible
from longsafety.host.machine import problem
from longsafety.host.streams import open_closed

_SHOWS = ("--hydra-help", "--version", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")
"""Hydra's flags that show something and run nothing."""
_REFUSED = {
    (
        "--config-name",
        "-cn",
    ): "there is one primary config; put changes into an experiment file, +experiment=NAME",
    ("--config-path", "-cp"): "the configs are the package's; add your own folder with --config-dir",
    ("--experimental-rerun",): "give the same command again: it finishes what is missing",
}


def _show(arguments: list[str]) -> None:
    """Answers --cfg, --info and shell completion; a run does not come here."""
    import hydra

    from longsafety.configuration.compose import for_hydra
    from longsafety.configuration.places import CONF
    from longsafety.configuration.versions import BASE

    sys.argv = [sys.argv[0], *for_hydra(arguments)]
    hydra.main(**BASE, config_path=str(CONF), config_name="config")(lambda config: None)()


class _Flags(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError([f"{message}; see --help"])


def main() -> None:
    """The console script."""
    open_closed()
    substitute_letters()
    try:
        flags, typed = _flags(sys.argv[1:])
        if flags is None:
            _show(sys.argv[1:])
            return
        if flags.help:
            print("\n".join(help_text([Path(flags.config_dir)] if flags.config_dir else [])))
            return
        if "stages=[list]" in typed:
            print("\n".join(listing()))
            return
        from longsafety.configuration.compose import compose_jobs  # Hydra, whose import takes longer than a list
        from longsafety.configuration.settle import settle
        from longsafety.pipeline.launch import launch

        jobs = compose_jobs(typed, flags.config_dir, multirun=flags.multirun)
        sys.exit(launch(settle(jobs, _note), command=["longsafety", *sys.argv[1:]]))
    except LongSafetyError as error:
        sys.exit(_failed(str(error)))
    except (OSError, MemoryError) as error:
        line = problem(error, Path())
        if line is None:
            raise
        sys.exit(_failed(line))
    except KeyboardInterrupt:
        sys.exit(_failed("stopped; what is complete is kept, and the same command goes on from there", code=130))


def _flags(arguments: list[str]) -> tuple[argparse.Namespace | None, list[str]]:
    """The flags of a run and its overrides; no flags where Hydra is to show something."""
    parser = _Flags(add_help=False, allow_abbrev=False)
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--help", "-h", action="store_true")
    for names in _REFUSED:
        parser.add_argument(*names, dest=names[0], nargs="?", const="")
    if any(argument.split("=")[0] in _SHOWS for argument in arguments):
        return None, []
    flags, rest = parser.parse_known_args(arguments)
    for names, rule in _REFUSED.items():
        value = getattr(flags, names[0])
        if value is not None and not (names[0] == "--config-name" and value == "config"):
            raise ConfigError([f"{names[0]} = {value}: {rule}"])
    if flags.run and flags.multirun:
        raise ConfigError(["--run, --multirun: only one of them makes sense; leave one out"])
    for argument in rest:
        if argument.startswith("-"):
            raise ConfigError([f"{argument}: no such flag; settings are typed as KEY=VALUE, see --help"])
    return flags, rest


def _note(line: str) -> None:
    print(f"longsafety: {visible(line)}", file=sys.stderr)


def _failed(message: str, code: int = 2) -> int:
    _note(message)
    return code


if __name__ == "__main__":
    main()
