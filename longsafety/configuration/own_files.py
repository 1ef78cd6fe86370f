"""What is wrong in a user's own config files, by file and line: what Hydra would tell in riddles, or not at all."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import yaml
from yaml.reader import ReaderError

from longsafety.configuration.fields import ROOT, Kind, as_written, kind_of
from longsafety.configuration.places import CONF, SWEEPS

_HEADER = re.compile(r"\s*#\s*@")
_PACKAGE = re.compile(r"\s*#\s*@package\b")
_EXPERIMENT = "experiment"
_TEXT = "tag:yaml.org,2002:str"
_KINDS = {"int": "a number", "float": "a number", "bool": "true or false", "timestamp": "a date"}
_LINE_END = re.compile(r"\r\n?")
_HIDDEN_LINE_END = re.compile("[\x85\u2028\u2029]")
_INDENT = "indent the keys of a section alike, with spaces, and put a space behind each colon"

_FIXES = {"'\\t'": "use spaces instead of tabs", "another document": "take the line --- out"}

Options = Callable[[str], Sequence[str]]
"""Group → the names of its files."""


def file_problems(
    roots: Sequence[Path], chosen: Sequence[tuple[str, str]], groups: Collection[str], options: Options
) -> list[str]:
    """Every mistake as ``FILE:LINE: rule; fix``, of the files of ``roots`` that the command names (as group and option)
    and of those that their defaults name."""
    problems: list[str] = []
    waiting, seen = list(chosen), set[Path]()
    while waiting:
        group, name = waiting.pop(0)
        for root in roots:
            file = root / group / f"{name}.yaml"
            if file.is_file() and file not in seen:
                seen.add(file)
                named: list[tuple[str, str]] = []
                problems += (f"{file}:{line}: {rule}" for line, rule in _problems(file, group, groups, options, named))
                waiting += named
            elif (other := file.with_suffix(".yml")).is_file() and not any(
                (place / group / file.name).is_file() for place in (CONF, SWEEPS, *roots)
            ):
                problems.append(f"{other}:1: is not read; name it {file.name}")
    return problems


def _problems(
    file: Path, group: str, groups: Collection[str], options: Options, named: list[tuple[str, str]]
) -> Iterator[tuple[int, str]]:
    data = file.read_bytes()
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield 1, "begins with a byte order mark; save it as UTF-8 without one"
        return
    try:
        text = _LINE_END.sub("\n", data.decode())
        if hidden := _HIDDEN_LINE_END.search(text):
            rule = f"holds U+{ord(hidden[0]):04X}, which ends a line to YAML and to few editors; write it as an escape"
            yield (
                text.count("\n", 0, hidden.start()) + 1,
                f'{rule} in double quotes ("\\u{ord(hidden[0]):04x}"), or not at all',
            )
            return
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        yield data.count(b"\n", 0, error.start) + 1, "is not UTF-8; save it as UTF-8"
        return
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        fix = next((fix for sign, fix in _FIXES.items() if sign in str(error.problem)), _INDENT)
        yield (mark.line + 1 if mark else 1), f"is no YAML ({error.problem or error.context}); {fix}"
        return
    except ReaderError as error:
        at = int(error.position)
        yield text.count("\n", 0, at) + 1, f"holds the control character U+{ord(text[at]):04X}; take it out"
        return
    except (yaml.YAMLError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        yield 1, f"is no YAML ({reason}); write it anew"
        return
    package, late = _package(text)
    if late:
        shown = text.split("\n")[late - 1].strip()
        yield late, f"{shown} stands below another line, where it has no effect; make it the first line of the file"
    elif group == _EXPERIMENT and package != "_global_":
        rule = f"is for the package {package}" if package else "lacks the line that puts its keys at the top"
        yield 1, f"{rule}; let its first line be: # @package _global_"
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        yield root.start_mark.line + 1, "holds no keys; write KEY: VALUE, with a space behind the colon"
        return
    yield from _double_keys(root)
    section = {"": group.replace("/", "."), "_global_": "", "_group_": group.replace("/", ".")}.get(package, package)
    yield from _dotted_keys(root, kind_of(section) if section else ROOT)
    for key, value in root.value:
        if key.value == "defaults":
            yield from _defaults(value, group, groups, options, named)
        else:
            yield from _values(value, key.value)
            if key.value == "hydra":
                yield from _swept(value)


def _package(text: str) -> tuple[str, int]:
    """The package that a file's header names, and the line of a name that is not in the header (0: there is none).

    To Hydra the header is all lines ``# @KEY VALUE`` before the first other line that is not empty.
    """
    package, in_header = "", True
    for number, line in enumerate(text.split("\n"), start=1):
        in_header = in_header and (not line.strip() or bool(_HEADER.match(line)))
        if _PACKAGE.match(line):
            words = line.split("@", 1)[1].split()
            if not in_header or len(words) != 2:
                return "", number
            package = words[1]
    return package, 0


def _double_keys(node: yaml.Node) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen and isinstance(key.value, str):
                yield line, f"{key.value} stands already in line {seen[key.value]}; leave one out"
            elif isinstance(key.value, str):
                seen[key.value] = line
            yield from _double_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _double_keys(item)


def _dotted_keys(node: yaml.Node, kind: Kind | None) -> Iterator[tuple[int, str]]:
    """Keys such as ``corpus.source``, which are names of their own to YAML. A mapping with free keys may have them."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        name = str(key.value)
        if name in ("defaults", "params"):  # of hydra.sweeper
            continue
        if re.search("[./]", name) and not (kind and kind.value):
            yield key.start_mark.line + 1, f"{name} is one key to YAML; {as_written(name)}"
        else:
            yield from _dotted_keys(value, kind.of(name) if kind else None)


def _values(node: yaml.Node, key: str) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        for inner, value in node.value:
            yield from _values(value, f"{key}.{inner.value}")
    elif isinstance(node, yaml.ScalarNode) and node.value == "???":
        yield node.start_mark.line + 1, f"{key} = ???: is a placeholder; give a value, or leave the line out"


def _defaults(
    node: yaml.Node, group: str, groups: Collection[str], options: Options, named: list[tuple[str, str]]
) -> Iterator[tuple[int, str]]:
    """The defaults list: each entry a name beside the file, or one group with its option as a text."""
    if not isinstance(node, yaml.SequenceNode):
        yield node.start_mark.line + 1, "defaults is no list; write each entry as: - override /GROUP: OPTION"
        return
    chosen: dict[str, int] = {}
    for entry in node.value:
        line = entry.start_mark.line + 1
        if isinstance(entry, yaml.ScalarNode):
            if entry.tag != _TEXT:
                yield line, f"{entry.value} is {_kind(entry)} to YAML; quote it: '{entry.value}'"
            elif not entry.value.startswith(("_", "/")):
                named.append((group, entry.value))
            continue
        if not isinstance(entry, yaml.MappingNode) or len(entry.value) != 1:
            yield line, "holds more than one group in an entry; give each its own: - override /GROUP: OPTION"
            continue
        [(key, value)] = entry.value
        words = key.value.split() if isinstance(key.value, str) else []
        path = words[-1].split("@")[0] if words else ""
        name = path.strip("/")
        if chosen.setdefault(name, line) != line:
            yield line, f"{name} is chosen already in line {chosen[name]}; leave one out"
        if isinstance(value, yaml.ScalarNode) and value.tag.rpartition(":")[2] in _KINDS:
            start = f"override /{name}" if group == _EXPERIMENT else key.value
            yield line, f"{key.value}: {value.value} is {_kind(value)} to YAML; quote it: {start}: '{value.value}'"
            continue
        if group == _EXPERIMENT and isinstance(value, yaml.SequenceNode):
            several = ",".join(str(item.value) for item in value.value)
            yield (
                line,
                f"{key.value}: [{several}] chooses several; give one, or a sweep: {name}={several} with the command, "
                f"or {name}: {several} below hydra: sweeper: params:",
            )
        elif group == _EXPERIMENT:
            yield from _override(line, words, path, value, groups, options)
        if isinstance(value, yaml.ScalarNode) and value.tag == _TEXT:
            named.append((name, value.value))


def _override(
    line: int, words: Sequence[str], path: str, value: yaml.Node, groups: Collection[str], options: Options
) -> Iterator[tuple[int, str]]:
    """In an experiment every group is chosen already: an entry overrides it."""
    name, option = path.strip("/"), value.value if isinstance(value, yaml.ScalarNode) else "OPTION"
    top = name.split("/")[0]
    if top not in groups:
        close = difflib.get_close_matches(top, sorted(groups), n=1)
        fix = f"did you mean {close[0]}?" if close else f"choose from {', '.join(sorted(groups))}"
        yield line, f"{name} is no group; {fix}"
    elif top != _EXPERIMENT and (words[0] != "override" or not path.startswith("/")):
        yield line, f"{' '.join(words)} chooses a second {name}; write: - override /{name}: {option}"
    elif isinstance(value, yaml.ScalarNode) and value.tag == _TEXT and not re.search(r"[$/]", option):
        known = options(name)
        if known and option not in known:
            public = sorted(known_one for known_one in known if not known_one.startswith("_"))
            close = difflib.get_close_matches(option, public, n=1)
            fix = f"did you mean {close[0]}?" if close else f"choose from {', '.join(public)}"
            yield line, f"{name} has no option {option}; {fix}"


def _swept(hydra: yaml.Node) -> Iterator[tuple[int, str]]:
    """``hydra.sweeper.params``: a text of values with commas for each key."""
    params = _under(_under(hydra, "sweeper"), "params")
    if params is None:
        return
    if not isinstance(params, yaml.MappingNode):
        yield params.start_mark.line + 1, "hydra.sweeper.params holds no keys; write KEY: VALUE,VALUE below it"
        return
    for key, value in params.value:
        kind = kind_of(str(key.value))
        if isinstance(value, yaml.SequenceNode) and not (kind and kind.element):
            values = ",".join(str(item.value) for item in value.value)
            yield value.start_mark.line + 1, f"{key.value} is one list, not a sweep; write {key.value}: {values}"
        elif value.tag.endswith(":null"):
            yield value.start_mark.line + 1, f"{key.value} has no value to sweep over; write {key.value}: VALUE,VALUE"


def _under(node: yaml.Node | None, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == name), None)


def _kind(node: yaml.Node) -> str:
    return _KINDS.get(node.tag.rpartition(":")[2], "nothing")
