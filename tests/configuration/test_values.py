"""Texts on the command line: letter for letter, never empty, and with commas that are theirs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.fields import kind_of
from longsafety.configuration.settle import settle
from longsafety.configuration.values import function, split
from longsafety.errors import ConfigError
from longsafety.settings import Settings


def settled(*arguments: str, multirun: bool = False, notes: list[str] | None = None) -> list[Settings]:
    jobs = compose_jobs(["scale=smoke", *arguments], multirun=multirun)
    return settle(jobs, ([] if notes is None else notes).append)


def problem(*arguments: str, multirun: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        settled(*arguments, multirun=multirun)
    [line] = caught.value.problems
    return line


TEXTS = [
    "1999",
    "1e5",
    "0",
    "true",
    "no",
    "2024-02-30",
    "章节",
    "œuvre",
    "a (b) [c]",
    "{x}",
    "x: y",
    "it's",
    "a,b",
    "#1",
]


@pytest.mark.parametrize("key", ["corpus.text_key", "+name", "++corpus.licence"])
def test_any_text_is_taken_letter_for_letter(key: str) -> None:
    for text in TEXTS:
        [settings] = settled(f"{key}={text}")
        section, _, name = key.lstrip("+").rpartition(".")
        assert getattr(getattr(settings, section) if section else settings, name) == text


def test_texts_in_lists_and_sections_are_taken_letter_for_letter() -> None:
    [settings] = settled(
        "evaluation.select.languages=[no,1e3]", "scenario.harmful_documents=[crime[0-9]*, 悬疑*, 'a, b']",
        "corpus={licence: 1.0, text_key: 标题}", "evaluation.judge={model: 7, base_url: http://127.0.0.1:1/v1}",
        "evaluation.scorers=[letter,open]",
    )  # fmt: skip
    assert settings.evaluation.select.languages == ["no", "1e3"]
    assert settings.scenario.harmful_documents == ["crime[0-9]*", "悬疑*", "a, b"]
    assert (settings.corpus.licence, settings.corpus.text_key) == ("1.0", "标题")
    assert settings.evaluation.judge is not None and settings.evaluation.judge.model == "7"


def test_null_is_no_value_where_there_may_be_none() -> None:
    [settings] = settled("corpus.licence=null", "corpus.text_key=null")
    assert (settings.corpus.licence, settings.corpus.text_key) == (None, "null")


@pytest.mark.parametrize(
    "key",
    [
        "corpus",
        "corpus.text_key",
        "scenario.seeds",
        "read.path",
        "export.path",
        "model.source",
        "paths.cache",
        "name",
        "evaluation.items",
        "evaluation.answers",
        "teacher.model",
        "tracking.uri",
        "reuse.weights",
    ],
)
def test_an_empty_text_is_refused(key: str) -> None:
    long = {"corpus": "corpus.source", "evaluation.items": "evaluation.items.path"}.get(key, key)
    for value in ("", " ", "''"):
        with pytest.raises(ConfigError) as caught:
            settled(f"{key}={value}")
        assert any(line.startswith(f"{long} = ") and "is empty" in line for line in caught.value.problems)


def test_an_empty_option_is_refused() -> None:
    assert re.match(r"model = '': is empty; choose from .*tiny", problem("model="))


def test_a_number_in_a_file_asks_for_quotes(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "dated.yaml").write_text("# @package _global_\nname: 2031\n", "utf-8")
    with pytest.raises(ConfigError, match=r"name = 2031: should be text; quote it where it is written, '2031'"):
        settle(compose_jobs(["+experiment=dated"], config_dir=str(tmp_path)))


# --- commas ----------------------------------------------------------------------------------------------------------


def test_a_comma_belongs_to_a_text(tmp_path: Path) -> None:
    notes: list[str] = []
    (tmp_path / "Doe, Jane").mkdir()
    [settings] = settled(f"corpus={tmp_path}/Doe, Jane", "corpus.licence=BSD,ISC", notes=notes)
    assert (settings.corpus.source, settings.corpus.licence) == (f"{tmp_path}/Doe, Jane", "BSD,ISC")
    own = [note for note in notes if not note.startswith("SafeMTLong is left out (")]
    assert own == ["corpus.licence = BSD,ISC is one value; for a sweep over its 2 parts add --multirun"]


def test_with_multirun_it_separates_texts(tmp_path: Path) -> None:
    jobs = settled("corpus.licence='BSD, ISC',MIT,a\\,b", multirun=True)
    assert [job.corpus.licence for job in jobs] == ["BSD, ISC", "MIT", "a,b"]
    assert re.match(
        r"corpus\.licence = BSD, ISC: one text .* or several", problem("corpus.licence=BSD, ISC", multirun=True)
    )


def test_two_paths_without_multirun_are_ambiguous(tmp_path: Path) -> None:
    for name in "xy":
        (tmp_path / name).mkdir()
    assert "add --multirun" in problem(f"corpus={tmp_path}/x,{tmp_path}/y")


# --- functions, groups, keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("length=choice(512,1k)", ["512", "1k"]),
        ("length=sort(512,256)", ["256", "512"]),
        ("length=glob(25*)", ["256"]),
        ("length=range(256,768,256)", ["256", "512"]),
    ],
)
def test_functions_over_a_group(argument: str, expected: list[str]) -> None:
    assert [job.length.name for job in settled(argument)] == expected


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("seed=interval(2,5)", r"seed = interval\(2,5\): an interval has no values to run; give choice"),
        ("seed=glob(1*)", r"seed = glob\(1\*\): stands for no value"),
        ("seed=range(1,9,0)", r"seed = range\(1,9,0\): cannot be read \(.*\)"),
        ("length=choice(512,12)", r"length = 12: no such option; .*"),
        ("length={name: x}", r"length = .*: names a file of conf/length"),
        ("seed=七", r"seed = '七': should be a valid integer"),
        ("种子=7", r"种子 = 7: a key has letters a to z"),
        ("seed", r"seed: is no KEY=VALUE"),
        ("=7", r"=7: is no KEY=VALUE"),
        ("+=7", r"\+=7: is no KEY=VALUE"),
        ("name=${nothing}", r"name: .*fix the interpolation"),
        ("corpus=~nobody-here/x", r"corpus\.source = ~nobody-here/x: ~ names no user"),
        ("corpus=" + "x" * 300, r"corpus\.source = x+: a file name has at most 255 bytes"),
        ("name=\udcff", r"name=\\udcff: is not valid UTF-8"),
    ],
)
def test_what_cannot_be_read_is_one_line(argument: str, line: str) -> None:
    assert re.match(line, problem(argument))


def test_splitting() -> None:
    assert split("a, 'b,c', [d,e], f(g,h), ${i:j,k}, l\\,m") == ["a", "'b,c'", "[d,e]", "f(g,h)", "${i:j,k}", "l\\,m"]
    assert split("a(,b") == ["a(", "b"]
    assert function("choice(a, b)") == ("choice", ["a", "b"])
    assert function("choice(a) of (b)") is None and function("other(a)") is None


# --- paths and lengths ------------------------------------------------------------------------------------------------


def test_every_setting_that_is_a_path_says_so() -> None:
    paths = ["corpus.source", "scenario.seeds", "scenario.task_files", "teacher.model", "read.path", "read.documents"]
    paths += ["evaluation.answers", "evaluation.items.path", "evaluation.items.documents", "evaluation.judge.labelled"]
    paths += ["evaluation.labels"]
    paths += ["export.path", "data_mix.sources.any.path", "model.source", "paths.outputs", "paths.cache"]
    assert not [key for key in paths if (kind := kind_of(key)) is None or kind.path is None]


@pytest.mark.slow
def test_relative_models_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned").mkdir()
    [settings] = settled("model.source=tuned", "teacher=transformers", "teacher.model=tuned")
    assert (settings.model.source, settings.teacher.model) == (str(tmp_path / "tuned"), str(tmp_path / "tuned"))
    [settings] = settled("teacher=openai", "teacher.model=tuned", "model.source=owner/name")
    assert (settings.teacher.model, settings.model.source) == ("tuned", "owner/name")


@pytest.mark.slow
def test_lengths_describe_themselves() -> None:
    [one], [several], [spread] = (
        settled("stages=[build]", *more)
        for more in (["length.factor=2"], ["length=16k", "length.lengths=[4096,16384]"], ["length=paper"])
    )
    assert (str(one.length.bench_lengths), str(one.length.training_lengths)) == ("512", "256")
    assert str(several.length.bench_lengths) == "4,096 and 16,384"
    assert str(spread.length.bench_lengths) == "41,900 on average, at most 130,816"
    assert (several.length.bench_lengths.average, spread.length.training_lengths.average) == (10240, 40900)


@pytest.mark.slow
def test_two_lengths_that_are_the_same_have_two_names() -> None:
    jobs = settled("length=256,512", "length.factor=1,2", "data_mix=base")
    assert len({(job.label, str(job.length.bench_lengths)) for job in jobs}) == len(jobs) == 4


@pytest.mark.slow
def test_a_task_that_cannot_fit_is_left_out_with_a_line() -> None:
    notes: list[str] = []
    [settings] = settled("scenario=partially_harmful", notes=notes)
    assert settings.scenario.tasks["CountingCrimes"].model_dump() == {"train": 0, "bench": 0}
    assert len(notes) == 1 and notes[0].startswith("CountingCrimes is left out (2,200 training samples and 147 ")
    [longer] = settled("scenario=partially_harmful", "length=512", notes=notes)
    assert longer.scenario.tasks["CountingCrimes"].bench == 147 and len(notes) == 1
    assert re.match("scenario = counting_crimes: has no task that fits", problem("scenario=counting_crimes"))
