"""Whatever users' files and commands hold gives a right result or an error that says what is wrong, never a traceback.

A small sample of each is an ordinary test; ``-m soak`` tries 20,000 and more.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.fields import ROOT
from longsafety.configuration.settle import settle
from longsafety.corpus.corpus import read_documents
from longsafety.errors import DataError
from longsafety.evaluation.official.read import read_official
from longsafety.formats.decode import NotText, decode, not_a_text
from longsafety.formats.public import read_public
from longsafety.samples.control import ControlTokens
from longsafety.scenarios.seeds.load import load_seeds
from longsafety.settings import Corpus
from tests.fuzz import SPECIAL, TEXTS, VALUES, rows, told, write_rows

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
BYTES = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda text, codec: text.encode(codec, "ignore"),
        st.text(max_size=80),
        st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-32-be", "cp1252", "gb18030", "shift_jis", "koi8-r"]),
    ),
    st.builds(lambda start, end: start + end, st.binary(max_size=20), TEXTS.map(lambda t: t.encode(errors="replace"))),
)


def sizes(few: int, many: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test twice: with few examples, and, marked ``soak``, with many."""

    def twice(test: Callable[..., None]) -> Callable[..., None]:
        sized = [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.soak)]
        made: Callable[..., None] = pytest.mark.parametrize("number", sized)(test)
        return made

    return twice


def each(number: int, test: Callable[..., None], **drawn: Any) -> None:
    """Runs ``test`` on ``number`` inputs, the same ones each time."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    profile = settings(
        max_examples=number, derandomize=True, deadline=None, database=None, suppress_health_check=checks
    )
    profile(given(**drawn)(test))()


@pytest.mark.slow
@sizes(40, 5000)
def test_rows(tmp_path: Path, number: int) -> None:
    refused = {True: 0, False: 0}

    def read(made: list[dict[str, Any]], suffix: str, skip: bool) -> None:
        file = tmp_path / f"set{suffix}"
        if write_rows(file, made):
            mode: Any = "skip" if skip else "error"
            refused[told(lambda: read_public(file, on_bad_row=mode))] += 1
            told(lambda: load_seeds(str(file), "en", on_bad_row=mode))
            told(
                lambda: (
                    read_documents(Corpus(source=str(file), min_words=1), mode)
                    if suffix in (".jsonl", ".parquet")
                    else None
                )
            )

    each(number, read, made=rows(), suffix=st.sampled_from(SUFFIXES), skip=st.booleans())
    assert refused[True] and (refused[False] or number < 1000)  # both happen


@sizes(60, 7000)
def test_damaged_files(tmp_path: Path, number: int) -> None:
    def read(data: bytes, suffix: str) -> None:
        file = tmp_path / f"file{suffix}"
        file.write_bytes(data)
        if suffix in (".txt", ".md", ".jsonl", ".parquet"):
            told(lambda: read_documents(Corpus(source=str(file), min_words=1), "skip"))
        if suffix in SUFFIXES:
            told(lambda: read_public(file))
            told(lambda: load_seeds(str(file), "en"))
        file.unlink()

    each(number, read, data=BYTES, suffix=st.sampled_from([".txt", ".md", *SUFFIXES]))


@sizes(100, 4000)
def test_what_is_decoded_is_the_text(number: int) -> None:
    def same(text: str, codec: str) -> None:
        """A text in Unicode is read as it is, or refused; it is never read as another."""
        data = text.encode(codec)
        if not_a_text(text):
            return  # it is to be refused, and its bytes may be those of a text in UTF-16
        try:
            read = decode(data)
        except NotText as error:
            assert str(error)
            return
        assert read in (text, text.removesuffix("\x1a"), text.removeprefix("\ufeff")), codec

    codecs = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    each(number, same, text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60), codec=codecs)

    def refuse(data: bytes) -> None:
        told(lambda: _as_data_error(data))

    each(number, refuse, data=BYTES)


def _as_data_error(data: bytes) -> None:
    try:
        decode(data, "cp1252").encode("utf-8")
    except NotText as error:
        raise DataError(f"file: {error}") from None


def _keys() -> list[str]:
    """Every dotted key of the settings."""
    found: list[str] = []

    def walk(prefix: str, kind: Any) -> None:
        for name in kind.section.model_fields:
            below = kind.of(name)
            found.append(f"{prefix}{name}")
            if below.section is not None:
                walk(f"{prefix}{name}.", below)

    walk("", ROOT)
    return found


_GROUPS = ("scenario", "data_mix", "model", "length", "trainer", "evaluation", "scale", "+experiment")
_ODD = (
    "choice(1,2)",
    "range(1,3)",
    "interval(0,1)",
    "glob(*)",
    "[",
    "{a:1}",
    "null",
    "1e3",
    "..",
    "~",
    "a,b",
    "${seed}",
    "",
)


@pytest.mark.slow
@sizes(12, 400)
def test_overrides(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = TEXTS | st.sampled_from(_ODD) | st.integers().map(str) | VALUES.map(lambda value: json.dumps(value))
    names = st.sampled_from([*_keys(), *_GROUPS]) | TEXTS
    signs = st.sampled_from(["", "", "", "+", "++", "~", "-", "--"])

    def command(sign: str, key: str, value: str, multirun: bool) -> None:
        arguments = ["scale=smoke", f"{sign}{key}={value}"]
        told(lambda: settle(compose_jobs(arguments, multirun=multirun), lambda line: None))

    each(number, command, sign=signs, key=names, value=values, multirun=st.booleans())


def _nested(key: str, value: str) -> str:
    return f"{key.replace('.', ': {')}: {value}{'}' * key.count('.')}"


@pytest.mark.slow
@sizes(12, 400)
def test_config_files(tmp_path: Path, number: int) -> None:
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    frames = ["defaults:", "- override /length: 512", "  - override /length: 1k", "hydra:", "  mode: MULTIRUN"]
    keys = st.builds(_nested, st.sampled_from(_keys()), TEXTS)
    lines = st.lists(TEXTS | st.sampled_from(frames) | keys, max_size=6)

    def compose(head: bool, made: list[str]) -> None:
        text = ("# @package _global_\n" if head else "") + "\n".join(made)
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        told(
            lambda: settle(compose_jobs(["+experiment=mine", "scale=smoke"], str(tmp_path / "conf")), lambda line: None)
        )

    each(number, compose, head=st.booleans(), made=lines)
    shutil.rmtree(tmp_path / "conf")


@sizes(50, 3000)
def test_special_tokens_are_found_wherever_they_stand(tiny_tokenizer: Any, number: int) -> None:
    tokens = ControlTokens(tiny_tokenizer)
    added = [token for token in SPECIAL if token in tiny_tokenizer.all_special_tokens]
    assert added

    def find(before: str, special: str, after: str) -> None:
        text = f"{before}{special}{after}"
        assert tokens.found(text) is not None and tokens.found_in([{"a": (text,)}]) is not None

    each(number, find, before=TEXTS, special=st.sampled_from(added), after=TEXTS)


@sizes(40, 2000)
def test_recorded_answers(tmp_path: Path, number: int) -> None:
    fields = {name: TEXTS | VALUES | st.sampled_from(["A", "B"]) for name in ("id", "chosen", "gt", "response")}
    fields |= {"ha": st.booleans() | VALUES, "choices": st.lists(st.lists(TEXTS, max_size=2), max_size=4) | VALUES}
    row = st.fixed_dictionaries({}, optional=fields) | VALUES

    def read(made: list[Any], scoring: Any, skip: bool) -> None:
        (tmp_path / "HarmfulNIAH.jsonl").write_text("\n".join(json.dumps(one) for one in made))
        told(lambda: read_official(tmp_path, scoring=scoring, on_bad_row="skip" if skip else "error"))

    modes = st.sampled_from(["fixed", "official"])
    each(number, read, made=st.lists(row, max_size=3), scoring=modes, skip=st.booleans())
