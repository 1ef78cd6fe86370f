"""The command line's ``key=value`` as overrides for Hydra, and the options that each stands for.

Three things are other than in Hydra's own grammar. A text setting (its type in :mod:`longsafety.settings` says so)
takes any text: other letters, brackets, colons, spaces, and what looks like a number. A comma in such a text is a part
of it, unless ``--multirun`` is given; commas elsewhere always separate the values of a sweep. And a key that does not
exist is composed all the same, so that it is reported together with all other mistakes.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError

from longsafety.configuration.fields import Kind, exists, kind_of
from longsafety.configuration.places import CONF
from longsafety.configuration.recorded import is_list
from longsafety.configuration.values import function, is_quoted, quote, split, typed
from longsafety.errors import ConfigError, first_line

_SHORT = {"corpus": "corpus.source", "evaluation.items": "evaluation.items.path"}
"""A section's key → the setting that its value names where it is not in braces."""
_OPTION = Kind(text=True)


@dataclass(frozen=True)
class Choice:
    """What one argument says: a key, and the options that it may have; more than one make a sweep."""

    key: str
    options: Sequence[str]
    """Overrides in Hydra's grammar."""
    shown: Sequence[str]
    """The options' values as typed."""
    notes: Sequence[str] = field(default=())
    """What the user should know of how the value was read."""


@dataclass(frozen=True)
class Reader:
    """Reads arguments; ``groups`` are the names of config folders.

    Without ``options`` (a loader, which knows the groups' files and Hydra's functions) names are not looked up.
    """

    groups: frozenset[str]
    loader: ConfigLoader | None = None

    def choices(self, arguments: Sequence[str], *, multirun: bool, declared: bool = False) -> dict[str, Choice]:
        """Key → its choice; a key that is given twice has the last. ConfigError with all that cannot be read.

        ``declared``: they stand in a sweep's file, where a comma and a space separate two values.
        """
        found: dict[str, Choice] = {}
        problems: list[str] = []
        for argument in arguments:
            try:
                choice = self._choice(argument, multirun, declared)
                found[choice.key] = choice
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return found

    def chosen(self, arguments: Sequence[str]) -> list[tuple[str, str]]:
        """The groups and options that the arguments name; what cannot be read is left out."""
        found = []
        for argument in arguments:
            match = _ASSIGNMENT.fullmatch(argument)
            if match and self._is_group(match["key"]):
                inside = match["value"].strip().removeprefix("[").removesuffix("]")
                call = function(inside)
                found += [
                    (match["key"].split("@")[0], _unquoted(name)) for name in (call[1] if call else split(inside))
                ]
        return found

    def override(self, argument: str) -> str:
        """The argument for Hydra's own flags (``--cfg job``): quoted, and not looked up."""
        match = _ASSIGNMENT.fullmatch(argument)
        if match is None or match["key"].startswith("hydra"):
            return argument
        sign, key, value = match["sign"], match["key"], match["value"]
        if self._is_group(key):
            value = value if value.startswith(("[", "{")) else ",".join(typed(part, _OPTION) for part in split(value))
            return f"{sign}{key}={value}"
        key = _long(key, value)
        return f"++{key}={typed(value, kind_of(key) or Kind())}"

    def _is_group(self, key: str) -> bool:
        return re.split("[/@]", key)[0] in self.groups

    def _choice(self, argument: str, multirun: bool, declared: bool) -> Choice:
        if any("\ud800" <= char <= "\udfff" for char in argument):
            raise ConfigError([_not_decoded(argument)])
        _refuse_around(argument)
        match = _ASSIGNMENT.fullmatch(argument)
        if match is None:
            key, equals, value = argument.partition("=")
            if equals and not key.strip("+~ "):
                raise ConfigError([f"{argument}: is no KEY=VALUE that can be read; see --help"])
            if equals and re.search(r"[^\w./@:~+$-]", key.lstrip("~+"), re.ASCII):
                rule = "a key has letters a to z, digits and _ here"
                raise ConfigError([f"{key} = {value}: {rule}; write other keys into a file of --config-dir"])
            return self._parsed(argument, argument, value)
        sign, key, value = match["sign"], match["key"], match["value"]
        if key.startswith("hydra"):
            _refuse_unread(key, value)
            return self._parsed(argument, argument, value)
        if self._is_group(key):
            return self._group(sign, key, value)
        key = _long(key, value)
        kind = kind_of(key) or Kind()
        listed = is_list(key, value)
        if listed:
            kind = Kind(element=kind)
        if listed or not kind.text or function(value):
            choice = self._parsed(argument, f"++{key}={typed(value, kind)}", value)
            added = kind.value is not None and value.strip().startswith("{")
            return replace(choice, notes=[_added(key, value)]) if added else choice
        return _text(key, value, kind, multirun, declared)

    def _options(self, group: str) -> list[str]:
        try:
            return sorted(self.loader.get_group_options(group)) if self.loader else []
        except ConfigLoadError as error:  # Hydra 1.4, of a folder with a .yml file
            raise ConfigError([f"{group}: {first_line(error)} Rename those in your own {group}/"]) from None

    def _group(self, sign: str, key: str, value: str) -> Choice:
        known = self._options(key.split("@")[0])
        public = [name for name in known if not name.startswith("_")]
        if not value.strip():
            raise ConfigError([f"{key} = '': is empty; choose from {', '.join(public)}"])
        if (written := _sign(key)) is not None and sign != written:
            rule = "is in no defaults list and is added" if written else "stands in the defaults list and is overridden"
            raise ConfigError([f"{sign}{key} = {value}: {key} {rule}; write {written}{key}={value}"])
        if value.startswith("{"):
            raise ConfigError([f"{key} = {value}: names a file of conf/{key}; set its keys alone, {key}.KEY=VALUE"])
        if value.startswith("["):
            inside = split(value.strip()[1:-1])
            names, override = inside, f"{sign}{key}=[{','.join(quote(_unquoted(name)) for name in inside)}]"
            options = [override]
        else:
            if function(value):
                override = f"{sign}{key}={typed(value, _OPTION)}"
                names = [_unquoted(name) for name in self._values(f"{key} = {value}", override)]
            else:
                names = [_unquoted(name) for name in split(value)]
            options = [f"{sign}{key}={quote(name)}" for name in names]
        if "" in names:
            raise ConfigError([f"{key} = {value}: nothing stands beside one of its commas; leave that comma out"])
        for name in names:
            if known and not self._is_option(key.split("@")[0], name, known):
                close = difflib.get_close_matches(name, public, n=1)
                fix = f"did you mean {close[0]}?" if close else f"choose from {', '.join(public)}"
                fix += _OTHER_MODEL if key == "model" and "/" in name else ""
                raise ConfigError([f"{key} = {name}: no such option; {fix}"])
        return Choice(key, options, names if len(options) == len(names) else [value])

    def _is_option(self, group: str, name: str, known: Sequence[str]) -> bool:
        """Whether a group has the option; one of a folder in the group (``mine/NAME``) too."""
        folder, slash, last = name.rpartition("/")
        if "$" in name or not slash:
            return "$" in name or name in known
        try:
            return last in self._options(f"{group}/{folder}".replace("/./", "/"))
        except (ConfigLoadError, HydraException, OSError):
            return False

    def _parsed(self, argument: str, override: str, value: str) -> Choice:
        """Of what Hydra's grammar reads; a value that it cannot read is a text, for the checks to refuse."""
        start, equals, _ = override.partition("=")
        key = start.lstrip("+")
        shown = argument.replace("=", " = ", 1)
        try:
            parsed = self._parse(override)
        except HydraException:
            if not equals or start.startswith(("~", "hydra")):
                raise ConfigError([f"{shown}: is no KEY=VALUE that can be read; see --help"]) from None
            return Choice(key, [f"{start}={quote(value)}"], [value])
        if not parsed.is_sweep_override():
            return Choice(key, [override], [value])
        values = self._values(shown, override)
        options = [f"{start}={item}" for item in values]
        shown_values = [item.replace("'", "") if item.startswith("[") else _unquoted(item) for item in values]
        return Choice(key, options, shown_values)

    def _values(self, shown: str, override: str) -> list[str]:
        """The values of a sweep."""
        try:
            parsed = self._parse(override)
            if not parsed.is_sweep_override():
                return [parsed.get_value_element_as_str()]
            if not parsed.is_discrete_sweep():
                raise ConfigError([f"{shown}: an interval has no values to run; give choice(…) or range(…)"])
            values = list(parsed.sweep_string_iterator())
        except (HydraException, ValueError, TypeError, ZeroDivisionError, ArithmeticError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
            raise ConfigError([f"{shown}: cannot be read ({reason}); give its values, separated by commas"]) from None
        if not values:
            raise ConfigError([f"{shown}: stands for no value; give its values, separated by commas"])
        return values

    def _parse(self, override: str) -> Override:
        [parsed] = OverridesParser.create(config_loader=self.loader).parse_overrides([override])
        return parsed


_OTHER_MODEL = "; another model is given beside one of these: model.source=NAME_OR_FOLDER model.name=NAME"
_ASSIGNMENT = re.compile(r"(?P<sign>\+{0,2})(?P<key>[A-Za-z_][\w./@:$-]*)=(?P<value>.*)", re.DOTALL | re.ASCII)


def _refuse_around(argument: str) -> None:
    """Refuses what other programs want before a name, and a slash or a dot around it."""
    key, equals, value = argument.partition("=")
    name = key.strip("-/.")
    if equals and name != key and _ASSIGNMENT.fullmatch(f"{name}="):
        around = "dashes before it" if key[0] == "-" else "a slash or a dot around its name"
        raise ConfigError([f"{argument}: a setting is given without {around}; write {name}={value}"])


_PLACES = ("hydra.run", "hydra.sweep.", "hydra.output_subdir", "hydra.runtime")
_READ = ("hydra.mode", "hydra.sweeper.params", "hydra.searchpath")


def _refuse_unread(key: str, value: str) -> None:
    """Refuses what Hydra would read and this command does not: jobs are composed by Hydra and run by us."""
    if key == "hydra.sweeper.params":
        raise ConfigError([f"{key} = {value}: cannot be typed as a whole; give each key with its values, KEY=A,B"])
    if key.startswith(_READ):
        return
    rule, fix = "Hydra starts and logs no job here", "leave it out"
    if key.startswith(_PLACES):
        place = "FOLDER" if value in ("", "null") else value
        rule, fix = "results lie below paths.outputs, at addresses of their own", f"set paths.outputs={place}"
    elif key == "hydra/launcher" or key.startswith("hydra.launcher"):
        fix = "leave it out; launcher=parallel executes several runs of a sweep at a time, launcher=slurm on a cluster"
    elif key == "hydra/sweeper" or key.startswith("hydra.sweeper"):
        rule, fix = "a sweep is the product of its values", "give them as KEY=A,B"
    elif key == "hydra.job.chdir":
        rule = "a run stays in the folder where it was started"
    raise ConfigError([f"{key} = {value}: is not read: {rule}; {fix}"])


def _not_decoded(argument: str) -> str:
    """Of an argument with bytes that Python could not read. File names in it could not be found either."""
    try:
        shown = os.fsencode(argument).decode()
    except UnicodeError:
        return f"{argument.encode('utf-8', 'backslashreplace').decode()}: is not valid UTF-8; give names in UTF-8"
    encoding = sys.getfilesystemencoding()
    return f"{shown}: is UTF-8, and Python reads {encoding} in this locale; set PYTHONUTF8=1 before the command"


def _sign(key: str) -> str | None:
    """What stands before a group of the package; None for a user's own, which a file of theirs may have chosen."""
    return "+" if key == "experiment" else "" if (CONF / key).is_dir() else None


def _added(key: str, value: str) -> str:
    return f"{key} = {value}: is added to what stands there already; to take a key out, write ~{key}.KEY"


def _long(key: str, value: str) -> str:
    return _SHORT[key] if key in _SHORT and not value.startswith("{") else key


def _text(key: str, value: str, kind: Kind, multirun: bool, declared: bool) -> Choice:
    """Of a text setting: one text, or with ``--multirun`` one for each part between commas."""
    parts = [] if is_quoted(value.strip()) else split(value)
    if len(parts) < 2 or not multirun:
        return Choice(key, [f"++{key}={typed(value, kind)}"], [value], list(_notes(key, value, parts, kind)))
    if not declared and _spaced(value, parts):
        raise ConfigError([
            f"{key} = {value}: one text with a comma, or several of a sweep? Quote the text (\"'{value}'\"), or leave "
            "out the space behind the comma"
        ])  # fmt: skip
    return Choice(key, [f"++{key}={typed(part, kind)}" for part in parts], [_unquoted(part) for part in parts])


def _spaced(value: str, parts: Sequence[str]) -> bool:
    """Whether there are spaces around the commas, as in a text rather than in a sweep."""
    return ",".join(parts) != value.strip()


def _notes(key: str, value: str, parts: Sequence[str], kind: Kind) -> Iterator[str]:
    if len(parts) < 2:
        return
    if kind.path and not exists(value) and all(exists(part) for part in parts):
        raise ConfigError([
            f"{key} = {value}: there is no such file, but there are {' and '.join(parts)}; add --multirun for a sweep "
            "over them"
        ])  # fmt: skip
    if not _spaced(value, parts):
        yield f"{key} = {value} is one value; for a sweep over its {len(parts)} parts add --multirun"


def _unquoted(value: str) -> str:
    if not is_quoted(value):
        return value
    with contextlib.suppress(HydraException):
        return str(OverridesParser.create().parse_rule(value, "element").text)
    return value[1:-1]
