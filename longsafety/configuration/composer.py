"""Few compositions for many jobs: Hydra reads some thirty files for each, which takes longer than to check a job."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

ALONE = frozenset({"scenario", "teacher", "data_mix", "model", "length", "evaluation", "tracking", "paths", "launcher"})
"""Groups whose shipped files write the section of the group's name and nothing else, and choose no option of another
group: what one of them adds to a config does not depend on what another adds."""


class Composer:
    """Composes the jobs of one command, inside ``initialize_config_dir``. ``roots``: the folders that configs lie in.

    Values (``++key=value``) are set after the composition, so jobs that differ in values only share one.
    """

    def __init__(self, roots: Sequence[Path], *, shipped: bool) -> None:
        """``shipped``: whether all configs are the package's, so that what :data:`ALONE` says is known of them."""
        self._shipped = shipped
        self._files = tuple(
            (str(file), stat.st_mtime_ns, stat.st_size)
            for root in roots
            for file in sorted(root.rglob("*.y*ml"))
            for stat in [file.stat()]
        )
        self._first: tuple[str, ...] = ()
        self._configs: dict[tuple[str, ...], DictConfig] = {}

    def swept(self, options: Sequence[str]) -> dict[str, str]:
        """``hydra.sweeper.params`` of the config that the options give."""
        groups, values = _divided(options)
        plain, params = _composed(groups, self._files)
        if not params:
            return {}
        config = OmegaConf.create({**plain, "hydra": {"sweeper": {"params": params}}})
        _set(config, values)
        return {str(key): str(value) for key, value in config.hydra.sweeper.params.items()}

    def config(self, options: Sequence[str]) -> DictConfig:
        """The config that the options give; it changes with the next call. Options of all calls have the same keys."""
        groups, values = _divided(options)
        self._first = self._first or groups
        if groups not in self._configs:
            self._configs[groups] = OmegaConf.create(self._of(groups))
        config = self._configs[groups]
        if any("{" in value for value in values):  # it would be merged into that of the job before
            config = copy.deepcopy(config)
        _set(config, values)
        return config

    def _of(self, groups: tuple[str, ...]) -> dict[str, Any]:
        changed = [number for number, (one, other) in enumerate(zip(groups, self._first, strict=True)) if one != other]
        names = [groups[number].partition("=")[0] for number in changed]
        if len(changed) < 2 or not self._shipped or not ALONE.issuperset(names):
            return _composed(groups, self._files)[0]
        parts = {}
        for number, name in zip(changed, names, strict=True):
            alone = self._first[:number] + groups[number : number + 1] + self._first[number + 1 :]
            parts[name] = _composed(alone, self._files)[0][name]
        return _composed(self._first, self._files)[0] | parts


@lru_cache(maxsize=256)
def _composed(groups: tuple[str, ...], files: tuple[tuple[str, int, int], ...]) -> tuple[dict[str, Any], Any]:
    """The config without its interpolations resolved, and ``hydra.sweeper.params``; both are only read."""
    config = compose("config", list(groups), return_hydra_config=True)
    swept = config.hydra.sweeper.get("params")
    params = OmegaConf.to_container(swept) if swept else {}
    with open_dict(config):
        del config["hydra"]
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}, params


def _divided(options: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Options that choose files (or that Hydra itself must read), and those that set values."""
    groups = tuple(option for option in options if not option.startswith("++"))
    return groups, [option for option in options if option.startswith("++")]


def _set(config: DictConfig, values: Sequence[str]) -> None:
    """As Hydra does it, with the same words where a value does not fit."""
    for override in OverridesParser.create().parse_overrides(list(values)):
        try:
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigCompositionException(f"Error merging override {override.input_line}") from error
