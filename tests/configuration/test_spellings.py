"""Settings spelled as other programs want them: each is refused with the spelling that works."""

from __future__ import annotations

import re

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError

PLAN = ("scale=smoke", "stages=[plan]")


def told(*arguments: str) -> str:
    with pytest.raises(ConfigError) as error:
        settle(compose_jobs((*PLAN, *arguments)), lambda line: None)
    return str(error.value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--seed=1", "--seed=1: a setting is given without dashes before it; write seed=1"),
        ("-corpus.min_words=1", "a setting is given without dashes before it; write corpus.min_words=1"),
        ("/scenario=law_qa", "a setting is given without a slash or a dot around its name; write scenario=law_qa"),
        ("scenario/=law_qa", "a setting is given without a slash or a dot around its name; write scenario=law_qa"),
        ("+scenario=law_qa", "scenario stands in the defaults list and is overridden; write scenario=law_qa"),
        ("++length=512", "length stands in the defaults list and is overridden; write length=512"),
        ("experiment=controls", "experiment is in no defaults list and is added; write +experiment=controls"),
        ("++experiment=controls", "experiment is in no defaults list and is added; write +experiment=controls"),
        ("scenario=law_qa,", "scenario = law_qa,: nothing stands beside one of its commas; leave that comma out"),
        (
            "model=owner/name",
            "; another model is given beside one of these: model.source=NAME_OR_FOLDER model.name=NAME",
        ),
        ("scenario=scenario/law_qa", "scenario = scenario/law_qa: no such option; choose from compact, "),
        ("name=a\tb", "name = 'a\\tb': holds a line break, a tab or another control character; leave it out"),
        ("name=" + "x" * 5000, "x… (5,002 characters): should have at most 200 characters"),
    ],
)
def test_the_right_spelling_is_told(argument: str, message: str) -> None:
    found = told(argument)
    assert message in found and len(found) < 700
    assert not re.search("Lexer|parsing override|Config search path", found)


@pytest.mark.parametrize("value", ["[build;plan]", "'[build,plan]'", "[build,plan", "build;plan", "build]"])
def test_what_was_meant_as_a_list_is_written_as_one(value: str) -> None:
    meant = "[build]" if "plan" not in value else "[build,plan]"
    assert f"should be a list; write {meant}: evaluation.scorers={meant}" in told(f"evaluation.scorers={value}")


def test_experiments_that_sweep_over_one_key_are_not_put_together() -> None:
    found = told("+experiment=[mix_ablation,controls]")
    assert "experiment: mix_ablation and controls both sweep over data_mix; give a command for each" in found


def test_tasks_that_are_added_are_told() -> None:
    notes: list[str] = []
    settle(compose_jobs((*PLAN, "scenario.tasks={LawQA:{train:1,bench:1}}")), notes.append)
    assert "is added to what stands there already; to take a key out, write ~scenario.tasks.KEY" in "".join(notes)
    [job] = compose_jobs((*PLAN, "scenario=law_qa", "~scenario.tasks.LawQA"))
    assert job.config["scenario"]["tasks"] == {}
