"""From the command line to typed settings: search path, sweeps, and all mistakes reported together.

Hydra composes; past :func:`settle` no code imports omegaconf.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from longsafety.errors import ConfigError, first_line

_PACKAGE = Path(__file__).resolve().parents[1]
_ROOT = _PACKAGE if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent
CONF, SWEEPS = _ROOT / "conf", _ROOT / "sweeps"
"""Beside the package in a checkout, inside it in an installed wheel."""
_PATH_KEYS = (
    "corpus.source",
    "scenario.seeds",
    "model.source",
    "teacher.model",
    "teacher.base_url",
    "read.path",
    "read.documents",
    "evaluation.answers",
    "evaluation.items.path",
    "evaluation.items.documents",
    "export.path",
    "paths.outputs",
    "paths.cache",
    "tracking.uri",
)
"""Their values are quoted where Hydra's grammar would stumble: (, [, =, ~, letters beyond ASCII."""


@dataclass(frozen=True)
class Job:
    """One composed job of a sweep (a run is a sweep of one)."""

    config: DictConfig
    varied: Mapping[str, str]
    """Swept key → its value here, as typed."""


class SweepsSearchPath(SearchPathPlugin):
    """Adds ``sweeps/`` as a second root, so that ``+experiment=`` finds runs and sweeps alike."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("longsafety-sweeps", SWEEPS.as_uri())


def register_plugins() -> None:
    """Makes Hydra know the second search path."""
    Plugins.instance().register(SweepsSearchPath)


def compose_jobs(arguments: Sequence[str], config_dir: str | None = None) -> list[Job]:
    """Composes every job of the command before any of them starts.

    The jobs are the product of all swept values, declared (``hydra.sweeper.params``) and typed; a typed key replaces
    the declared one. ``config_dir``: a user's own folder of configs.
    """
    GlobalHydra.instance().clear()
    register_plugins()
    _name_config_dir(config_dir)
    with initialize_config_dir(str(CONF), version_base="1.3", job_name="longsafety"):
        extra = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
        typed = _choices([*normalise(arguments), *extra])
        if len(typed.get("experiment", ())) > 1:
            names = ",".join(option.partition("=")[2] for option in typed["experiment"])
            raise ConfigError([f"experiment = {names}: what they sweep over is dropped; give a command for each"])
        fixed = [options[0] for options in typed.values() if len(options) == 1]
        master = compose("config", fixed, return_hydra_config=True)
        params = master.hydra.sweeper.get("params") or {}
        choices = _choices(normalise([f"{key}={value}" for key, value in params.items()])) | typed
        jobs: list[list[str]] = [[]]
        for options in choices.values():
            jobs = [[*job, option] for job in jobs for option in options]
        swept = {key for key, options in choices.items() if len(options) > 1}
        return [Job(compose("config", job), _varied(job, swept)) for job in jobs]


def _name_config_dir(config_dir: str | None) -> None:
    """Lets configs of a user's own folder name files beside them: ``${config_dir:}/seeds.jsonl``."""

    def resolve(*_: str) -> str:
        if config_dir is None:
            raise ValueError("${config_dir:} stands for the folder of --config-dir; give it")
        return str(Path(config_dir).resolve())

    OmegaConf.register_new_resolver("config_dir", resolve, replace=True)


def _choices(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Key → the overrides that its sweep stands for; one without a sweep."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    choices: dict[str, list[str]] = {}
    for override in parser.parse_overrides(list(overrides)):
        key = override.get_key_element()
        if override.is_sweep_override() and override.is_discrete_sweep():
            values = list(override.sweep_string_iterator())
        else:
            values = [override.get_value_element_as_str()]
        choices[key.lstrip("+")] = (
            [override.input_line or key] if len(values) == 1 else [f"{key}={item}" for item in values]
        )
    return choices


def _varied(job: Sequence[str], swept: set[str]) -> dict[str, str]:
    pairs = (item.lstrip("+").split("=", 1) for item in job)
    return {pair[0]: pair[1].strip("'\"") for pair in pairs if pair[0] in swept}


def normalise(arguments: Sequence[str]) -> list[str]:
    """Lets the command line say what Hydra's grammar would refuse, so that the checks can answer for it.

    ``key=value`` becomes ``++key=value`` (an unknown key is then reported with all other mistakes), and the number
    in ``length=256`` names a group's option.
    """
    groups = {entry.name for root in (CONF, SWEEPS) for entry in os.scandir(root) if entry.is_dir()}

    def one(argument: str) -> str:
        match = re.fullmatch(r"([A-Za-z_][\w./@]*)=(.*)", argument, re.DOTALL)
        if not match or match[1].startswith("hydra"):
            return argument
        key, value = match[1], match[2]
        if re.split(r"[/@]", key)[0] in groups:
            if re.fullmatch(r"\w+(,\w+)*", value):  # 256, null and the like are names here
                value = ",".join(f"'{option}'" for option in value.split(","))
            return f"{key}={value}"
        if key == "corpus" and not value.startswith("{"):
            key = "corpus.source"  # beside the section's other keys, not in place of them
        if key == "evaluation.items" and not value.startswith("{"):
            key = "evaluation.items.path"
        if key in _PATH_KEYS and not re.match(r"['\"{$]", value) and re.search(r"[^\w./:@,-]", value, re.ASCII):
            value = ",".join("'" + part.replace("'", "\\'") + "'" for part in value.split(","))
        return f"++{key}={value}"

    return [one(argument) for argument in arguments]


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "config"
        raise ConfigError([f"{key}: {first_line(error)}; mend the interpolation"]) from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
