"""Composes the jobs of a command with Hydra: config folders, sweeps, and Hydra's own errors as one line each.

Hydra stops here: what leaves this module are plain dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from longsafety.configuration.composer import Composer
from longsafety.configuration.overrides import Reader
from longsafety.configuration.own_files import file_problems
from longsafety.configuration.places import CONF, SWEEPS
from longsafety.configuration.recorded import KEY, recorded_runs
from longsafety.configuration.values import split
from longsafety.configuration.versions import BASE, register_resolver
from longsafety.errors import ConfigError, LongSafetyError, first_line
from longsafety.settings import Settings


@dataclass(frozen=True)
class Job:
    """One composed job of a sweep (a run is a sweep of one)."""

    config: Mapping[str, Any]
    varied: Mapping[str, str]
    """Swept key → its value in this job, as typed."""
    notes: Sequence[str] = ()
    """How values of the command were read, where that could surprise."""


class Roots(SearchPathPlugin):
    """Adds the config roots beside ``conf/``: ``sweeps/``, where ``+experiment=`` finds sweeps, and the user's own."""

    paths: ClassVar[Sequence[Path]] = (SWEEPS,)

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for path in self.paths:
            search_path.append("longsafety", path.as_uri())


def register_roots(*own: Path) -> None:
    """Registers the config roots, and ``${at_scale:VALUE,{SCALE:OTHER}}``: a value, or another at a scale."""
    register_resolver("at_scale", _at_scale)
    Roots.paths = (SWEEPS, *own)
    Plugins.instance().register(Roots)


def _at_scale(value: Any, others: Mapping[str, Any], *, _root_: DictConfig) -> Any:
    return others.get(_root_.scale, value)


def for_hydra(arguments: Sequence[str]) -> list[str]:
    """The command line for Hydra's own flags (``--cfg job``), with values as :func:`compose_jobs` reads them."""
    reader = Reader(_groups())
    register_roots()
    return [argument if argument.startswith("-") else reader.override(argument) for argument in arguments]


def compose_jobs(arguments: Sequence[str], config_dir: str | None = None, *, multirun: bool = False) -> list[Job]:
    """Composes every job of the command before any of them starts. Raises ConfigError.

    The jobs are the product of all swept values, declared (``hydra.sweeper.params``) and typed; a typed key replaces
    the declared one. ``config_dir``: a user's own folder of configs. ``multirun``: a comma separates texts too.
    """
    _check_here()
    own = [] if config_dir is None else [_config_dir(config_dir)]
    GlobalHydra.instance().clear()
    register_roots(*own)
    _name_config_dir(*own)
    with initialize_config_dir(str(CONF), job_name="longsafety", **BASE):
        reader = Reader(_groups(*own), GlobalHydra.instance().config_loader())
        if wrong := file_problems(own, reader.chosen(arguments), _groups(*own), _options):
            raise ConfigError(wrong)
        typed = reader.choices(arguments, multirun=multirun)
        if "experiment" in typed and len(typed["experiment"].options) > 1:
            names = ",".join(typed["experiment"].shown)
            raise ConfigError([f"experiment = {names}: what they sweep over is dropped; give a command for each"])
        fixed = [choice.options[0] for choice in typed.values() if len(choice.options) == 1]
        composer = Composer([CONF, SWEEPS, *own], shipped=not own and not any("hydra." in option for option in fixed))
        with _one_line_errors():
            _refuse_lost_sweeps(composer, fixed)
            declared = [f"{key}={value}" for key, value in composer.swept(fixed).items()]
        choices = reader.choices(declared, multirun=True, declared=True) | typed
        notes = [note for choice in choices.values() for note in choice.notes]
        notes += [
            f"{folder / 'config.yaml'}: is not read; put its keys into {folder}/experiment/NAME.yaml and give "
            "+experiment=NAME"
            for folder in own
            if (folder / "config.yaml").is_file()
        ]
        jobs = []
        for numbers in product(*(range(len(choice.options)) for choice in choices.values())):
            picked = list(zip(choices.values(), numbers, strict=True))
            options = [choice.options[number] for choice, number in picked]
            with _one_line_errors():
                config = composer.config(options)
            varied = {choice.key: choice.shown[number] for choice, number in picked if len(choice.options) > 1}
            for plain, answers in recorded_runs(_plain(config)):
                jobs.append(Job(plain, varied | ({KEY: answers} if answers else {}), notes))
        return jobs


def _refuse_lost_sweeps(composer: Composer, fixed: Sequence[str]) -> None:
    """Raises ConfigError for experiments, ``[ONE,TWO]``, that sweep over one key: the last would hide the others."""
    several = next(
        (re.fullmatch(r"(\+experiment=)\[(.*)\]", option) for option in fixed if "experiment=[" in option), None
    )
    names = split(several[2]) if several else []
    rest = [option for option in fixed if "experiment=[" not in option]
    swept: dict[str, tuple[str, str]] = {}
    for name in names if several and len(names) > 1 else []:
        for key, values in composer.swept([*rest, f"+experiment={name}"]).items():
            other, before = swept.setdefault(key, (name, values))
            if values != before:
                named = f"{other} and {name}".replace("'", "")
                raise ConfigError([f"experiment: {named} both sweep over {key}; give a command for each"])


def _config_dir(config_dir: str) -> Path:
    folder = Path(config_dir)
    if not config_dir.strip() or not folder.is_dir():
        raise ConfigError([f"--config-dir = {config_dir!r}: no such folder; give a folder of config groups"])
    return folder.resolve()


def _name_config_dir(folder: Path | None = None) -> None:
    """Lets configs of a user's own folder name files beside them: ``${config_dir:}/seeds.jsonl``."""

    def resolve(*_: str) -> str:
        if folder is None:
            raise ValueError("${config_dir:} stands for the folder of --config-dir; give it")
        return str(folder)

    register_resolver("config_dir", resolve)


def _groups(*own: Path) -> frozenset[str]:
    """The config groups: the package's, and the user's folders with configs. A folder that is named like a setting
    without a group (texts in ``corpus/``) is none, or the setting could not be given."""
    shipped = {folder.name for root in (CONF, SWEEPS) for folder in root.iterdir() if folder.is_dir()}
    found = {folder.name for root in own for folder in root.iterdir() if _holds_configs(folder)}
    return frozenset(shipped | (found - {*Settings.model_fields}))


def _holds_configs(folder: Path) -> bool:
    return any(file.is_file() for depth in ("*", "*/*") for file in folder.glob(f"{depth}.y*ml"))


def _options(group: str) -> list[str]:
    return GlobalHydra.instance().config_loader().get_group_options(group)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Hydra and OmegaConf raise errors of many kinds, of several lines, for what a user typed or wrote into a file."""
    try:
        yield
    except LongSafetyError:
        raise
    except Exception as error:
        text = "\n".join(filter(None, [str(error), str(error.__cause__ or "")])) or type(error).__name__
        lines = [line.strip() for line in text.splitlines() if line.strip(" ^\t")]
        if key := getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None):
            raise ConfigError([f"{key}: {lines[0]}; correct it where it is written"]) from None
        raise ConfigError([" ".join(line for line in lines if not line.startswith("See https://hydra.cc"))]) from None


def _check_here() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ConfigError(["the current folder is no longer there; change to one that is (cd)"]) from None


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "config"
        raise ConfigError([f"{key}: {first_line(error)}; fix the interpolation"]) from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
