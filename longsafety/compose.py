"""From the command line to typed settings: search path, sweeps, and all mistakes reported together.

Hydra composes; past :func:`settle` no code imports omegaconf.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
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
from pydantic import BaseModel, ValidationError

from longsafety.checks import combination_problems
from longsafety.errors import ConfigError
from longsafety.evaluation.capability import absolute_suites
from longsafety.scenarios.seeds import SHIPPED
from longsafety.settings import Settings
from longsafety.stages import slug

_PACKAGE = Path(__file__).resolve().parent
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
_LENGTH_KEYS = ("length", "length.max_tokens", "length.factor")


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


def settle(jobs: Sequence[Job]) -> list[Settings]:
    """Typed settings of every job, or one ConfigError with all mistakes of all jobs."""
    problems: dict[str, None] = {}
    settled: list[Settings] = []
    for job in jobs:
        settings, wrong = check({**_plain(job.config), "varied": dict(job.varied)})
        problems.update(dict.fromkeys(wrong))
        if settings:
            settled.append(settings)
    if problems:
        raise ConfigError(list(problems))
    labels = [_label(settings, job) for settings, job in zip(settled, jobs, strict=True)]
    baseline = settled[0].baseline
    if baseline is not None and baseline not in labels:
        names = ", ".join(dict.fromkeys(labels))
        raise ConfigError([f"baseline = {baseline}: no arm of this command; choose one of {names}"])
    settled = _own_export_folders(settled, labels)
    lengths: dict[str, set[int]] = {}
    for label, settings in zip(labels, settled, strict=True):
        lengths.setdefault(label, set()).add(settings.length.max_tokens)
    return [
        _finish(settings, job, label, lengths[label])
        for settings, job, label in zip(settled, jobs, labels, strict=True)
    ]


def _own_export_folders(settled: Sequence[Settings], labels: Sequence[str]) -> list[Settings]:
    """Trained models for which one folder is given go into its subfolders, by arm, and by length where an arm has
    several; data does not."""
    paths = [settings.export.path for settings in settled]
    if settled[0].exports_weights and not any(settings.data_mix.sources for settings in settled):
        raise ConfigError(
            [f"export.format = weights: no arm of {', '.join(labels)} is trained; choose another data_mix"]
        )
    own = list(paths)
    for number, (settings, label, path) in enumerate(zip(settled, labels, paths, strict=True)):
        if path is not None and settings.exports_weights and paths.count(path) > 1:
            length = f"-{settings.length.bench_tokens}" if labels.count(label) > 1 else ""
            own[number] = str(Path(path) / f"{slug(label)}{length}")
    for path in dict.fromkeys(path for path in own if path is not None):
        if own.count(path) > 1:
            raise ConfigError([
                f"export.path = {path}: {own.count(path)} runs of this command would write into it; give each its "
                "own, with what varies in the path: FOLDER/${length.name}"
            ])  # fmt: skip
    return [
        settings.model_copy(update={"export": settings.export.model_copy(update={"path": path})})
        for settings, path in zip(settled, own, strict=True)
    ]


def _label(settings: Settings, job: Job) -> str:
    others = {
        key: value for key, value in job.varied.items() if key not in (*_LENGTH_KEYS, "data_mix", "evaluation.answers")
    }
    first = Path(settings.evaluation.answers).name if settings.evaluation.answers else settings.data_mix.name
    return " ".join([first, *(f"{key}={value}" for key, value in others.items())])


def _finish(settings: Settings, job: Job, label: str, lengths: set[int]) -> Settings:
    """Names the arm, shares one training among its lengths, and makes the paths absolute."""
    length = settings.length
    if len(lengths) > 1 and length.train_tokens is None and not settings.only_builds:
        length = length.model_copy(update={"train_tokens": min(lengths)})
    scenario, limits = settings.scenario, settings.limits
    if not settings.only_builds:
        scenario = scenario.model_copy(
            update={
                "train_samples": scenario.train_samples or limits.train_samples,
                "bench_items": scenario.bench_items or limits.bench_items,
            }
        )
    if scenario.seeds != SHIPPED:
        scenario = scenario.model_copy(update={"seeds": _absolute(scenario.seeds)})
    judge = settings.evaluation.judge
    update: dict[str, Any] = {
        "corpus": _with_path(settings.corpus, "source") if settings.corpus.source != "embedded" else settings.corpus,
        "data_mix": settings.data_mix.model_copy(
            update={
                "sources": {
                    name: _with_path(source, "path")
                    for name, source in settings.data_mix.sources.items()
                    if not settings.rescores  # what answered was not trained here
                }
            }
        ),
        "read": _with_path(_with_path(settings.read, "path"), "documents"),
        "evaluation": settings.evaluation.model_copy(
            update={
                "items": _with_path(_with_path(settings.evaluation.items, "path"), "documents"),
                "capability": absolute_suites(settings.evaluation.capability),
                **({"answers": _absolute(str(settings.evaluation.answers))} if settings.rescores else {}),
                "judge": judge if judge is None else _with_path(judge, "labelled"),
            }
        ),
        "export": _with_path(settings.export, "path", missing=True),
        "paths": settings.paths.model_copy(
            update={"outputs": _absolute(settings.paths.outputs), "cache": _absolute(settings.paths.cache)}
        ),
    }
    return settings.model_copy(
        update={"label": label, "varied": dict(job.varied), "length": length, "scenario": scenario, **update}
    )


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _with_path(section: Any, key: str, *, missing: bool = False) -> Any:
    """The section with an absolute path where ``key`` names something local (or is yet to be made)."""
    value = getattr(section, key)
    if value is None or not (missing or Path(value).expanduser().exists()):
        return section
    return section.model_copy(update={key: _absolute(value)})


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "config"
        raise ConfigError([f"{key}: {str(error).splitlines()[0]}; mend the interpolation"]) from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def check(raw: dict[str, Any]) -> tuple[Settings | None, list[str]]:
    """Validates a composed config: the settings, or every problem as ``key = value: rule; fix``.

    Wrong keys are replaced by their defaults (in a copy that is thrown away), so that impossible combinations of the
    right ones are reported in the same message.
    """
    try:
        settings = Settings.model_validate(raw)
        wrong = combination_problems(settings, broken=frozenset())
        return (None if wrong else settings), wrong
    except ValidationError as error:
        details = error.errors()
    grouped: dict[str, list[Any]] = {}
    for detail in details:  # a union has an entry for each of its members
        grouped.setdefault(_dotted(detail["loc"]), []).append(detail)
    problems = [_problem(group) for group in grouped.values()]
    broken = frozenset(grouped)
    repaired = _without(raw, [detail["loc"] for detail in details])
    # Where a required key is wrong, its own line says so, and combinations with it cannot be judged.
    with contextlib.suppress(ValidationError):
        problems += combination_problems(Settings.model_validate(repaired), broken)
    return None, problems


def _without(raw: dict[str, Any], locations: Sequence[tuple[int | str, ...]]) -> dict[str, Any]:
    repaired = copy.deepcopy(raw)
    for location in locations:
        node: Any = repaired
        keys = [key for key in location if not _is_branch(key)]
        for key in keys[:-1]:
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, dict) and keys:
            node.pop(keys[-1], None)
    # What has no default is taken from any valid stand-in, so that the rest can still be judged together.
    for section, values in _STAND_INS.items():
        if isinstance(repaired.get(section, {}), dict):
            repaired[section] = {**values, **repaired.get(section, {})}
    return repaired


_STAND_INS: dict[str, dict[str, Any]] = {
    "length": {"name": "", "max_tokens": 1},
    "model": {"name": "", "source": "tiny", "window": 2**40},
    "data_mix": {"name": ""},
    "scenario": {"name": "", "tasks": {}},
    "trainer": {"name": ""},
    "paths": {"outputs": "outputs", "cache": "cache"},
}


def _is_branch(key: int | str) -> bool:
    """Pydantic names the member of a union in the location; it is no key of the config."""
    return isinstance(key, str) and bool(re.fullmatch(r"int|str|float|bool|none|constrained-.*|.*[\[(].*", key))


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(key) for key in location if not _is_branch(key))


def _problem(group: Sequence[Any]) -> str:
    detail = group[0]
    key = _dotted(detail["loc"])
    if detail["type"] == "missing":
        return f"{key}: is missing; give it a value"
    if detail["type"] == "extra_forbidden":
        siblings = _siblings(detail["loc"])
        close = difflib.get_close_matches(str(detail["loc"][-1]), siblings, n=1)
        prefix = key.rpartition(".")[0]
        hint = f"did you mean {prefix + '.' if prefix else ''}{close[0]}?" if close else f"known: {', '.join(siblings)}"
        return f"{key} = {detail['input']!r}: unknown key; {hint}"
    message = " or ".join(str(item["msg"]).removeprefix("Input should be ") for item in group)
    return f"{key} = {detail['input']!r}: should be {message}; change the value"


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for key in location[:-1]:
        field = model.model_fields.get(key) if hasattr(model, "model_fields") else None
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), model)
    return sorted(model.model_fields)
