"""A user's own config files: each mistake is one line with the file, the line, the rule and a fix that works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError

PACKAGE = "# @package _global_\n"
LATE = "stands below another line, where it has no effect; make it the first line of the file"
INDENT = "indent the keys of a section alike, with spaces, and put a space behind each colon"


def jobs(folder: Path, *arguments: str) -> int:
    return len(settle(compose_jobs(arguments or ("+experiment=mine", "scale=smoke"), str(folder)), lambda line: None))


def experiment(folder: Path, text: str | bytes) -> Path:
    file = folder / "experiment" / "mine.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            f"{PACKAGE}defaults:\n- override /length: 512\nname: x\n",
            3,
            "override /length: 512 is a number to YAML; quote it: override /length: '512'",
        ),
        (
            f"{PACKAGE}defaults:\n- /tracking: no\n",
            3,
            "/tracking: no is true or false to YAML; quote it: override /tracking: 'no'",
        ),
        (f"{PACKAGE}defaults:\n- 512\n", 3, "512 is a number to YAML; quote it: '512'"),
        (f"{PACKAGE}defaults:\n- length: 1k\n", 3, "length chooses a second length; write: - override /length: 1k"),
        (f"{PACKAGE}defaults:\n- /length: 1k\n", 3, "/length chooses a second length; write: - override /length: 1k"),
        (f"{PACKAGE}defaults:\n- override /lenght: 1k\n", 3, "lenght is no group; did you mean length?"),
        (f"{PACKAGE}defaults:\n- override /length: 1kk\n", 3, "length has no option 1kk; did you mean 1k?"),
        (
            f"{PACKAGE}defaults:\n- override /length: 1k\n- override /length: 2k\n",
            4,
            "length is chosen already in line 3; leave one out",
        ),
        (
            f"{PACKAGE}defaults:\n  length: 1k\n",
            3,
            "defaults is no list; write each entry as: - override /GROUP: OPTION",
        ),
        ("name: x\n", 1, f"lacks the line that puts its keys at the top; let its first line be: {PACKAGE.strip()}"),
        ("", 1, f"lacks the line that puts its keys at the top; let its first line be: {PACKAGE.strip()}"),
        ("# mine\nname: x\n", 1, "lacks the line that puts its keys at the top; let its first"),
        ("# mine\n\n# @package _global_\nname: x\n", 3, f"{PACKAGE.strip()} {LATE}"),
        ("---\n#@package _global_\nname: x\n", 2, f"#@package _global_ {LATE}"),
        (f"# yaml-language-server: $schema=x\n  {PACKAGE}name: x\n", 2, f"{PACKAGE.strip()} {LATE}"),
        (f"name: x\n{PACKAGE}seed: 3\n", 2, f"{PACKAGE.strip()} {LATE}"),
        ("# @package _global_ # of all\nname: x\n", 1, f"# @package _global_ # of all {LATE}"),
        (
            f"{PACKAGE}name: x\ncorpus.source: embedded\n",
            3,
            "corpus.source is one key to YAML; write corpus: and below it, indented, source:",
        ),
        (
            f"{PACKAGE}training:\n  a.b.c: 3\n",
            3,
            "a.b.c is one key to YAML; write a: and below it, indented, b: and below it, indented, c:",
        ),
        (f"{PACKAGE}/corpus:\n  source: x\n", 2, "/corpus is one key to YAML; write corpus:"),
        (
            f"{PACKAGE}hydra.mode: MULTIRUN\n",
            2,
            "hydra.mode is one key to YAML; write hydra: and below it, indented, mode:",
        ),
        (
            f"{PACKAGE}defaults:\n- override /length: [256, 512]\n",
            3,
            "override /length: [256,512] chooses several; give one, or a sweep: length=256,512 with the command, or",
        ),
        ("# @package global\nname: x\n", 1, f"is for the package global; let its first line be: {PACKAGE.strip()}"),
        (f"{PACKAGE}name: x\n  seed: 3\n", 3, f"is no YAML (mapping values are not allowed here); {INDENT}"),
        (f"{PACKAGE}training:\n   epochs: 3\n  lr_peak: 1\n", 4, "is no YAML (expected <block end>, but found "),
        (
            f"{PACKAGE}training:\n\tepochs: 3\n",
            3,
            "is no YAML (found character '\\t' that cannot start any token); use",
        ),
        (f"{PACKAGE}- name: x\n", 2, "holds no keys; write KEY: VALUE, with a space behind the colon"),
        (f"{PACKAGE}name:x\n", 2, "holds no keys; write KEY: VALUE, with a space behind the colon"),
        (f"{PACKAGE}seed: 3\nname: x\nseed: 4\n", 4, "seed stands already in line 2; leave one out"),
        (f"{PACKAGE}name: ???\n", 2, "name = ???: is a placeholder; give a value, or leave the line out"),
        (f"{PACKAGE}name: {'[' * 3000}\n", 1, "is no YAML (nested too deeply); write it anew"),
        (f"{PACKAGE}name: modèle\n".encode("latin-1"), 2, "is not UTF-8; save it as UTF-8"),
        (f"{PACKAGE}name: x\n".encode("utf-8-sig"), 1, "begins with a byte order mark; save it as UTF-8 without one"),
        (f"{PACKAGE}name: x\n".encode("utf-16"), 1, "begins with a byte order mark; save it as UTF-8 without one"),
        (
            f"{PACKAGE}hydra:\n  sweeper:\n    params:\n      seed: [1, 2]\n",
            5,
            "seed is one list, not a sweep; write seed: 1,2",
        ),
        (
            f"{PACKAGE}hydra:\n  sweeper:\n    params: seed=1,2\n",
            4,
            "hydra.sweeper.params holds no keys; write KEY: VALUE,VALUE below it",
        ),
    ],
)
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, text: str | bytes, line: int, told: str) -> None:
    file = experiment(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        jobs(tmp_path)
    [problem] = caught.value.problems
    assert problem.startswith(f"{file}:{line}: {told}")


def test_what_is_advised_works(tmp_path: Path) -> None:
    defaults = "defaults:\n- override /length: '512'\n- override /tracking: 'none'\n"
    swept = "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 1,2\n"
    experiment(tmp_path, f"{PACKAGE}{defaults}name: mine\ntraining:\n  epochs: 3\n{swept}")
    assert jobs(tmp_path) == 2


@pytest.mark.parametrize(
    "header", [PACKAGE, f"\n{PACKAGE}", f"  {PACKAGE}", "#@package _global_\n", f"{PACKAGE}# mine\n", f"{PACKAGE}---\n"]
)
def test_the_package_is_read_as_hydra_reads_it(tmp_path: Path, header: str) -> None:
    experiment(tmp_path, f"{header}name: mine\nscenario:\n  train_samples: 4\n")
    [job] = compose_jobs(["+experiment=mine", "scale=smoke"], str(tmp_path))
    assert (job.config["name"], job.config["scenario"]["train_samples"]) == ("mine", 4)


def test_free_keys_and_swept_keys_may_have_dots(tmp_path: Path) -> None:
    swept = "hydra:\n  sweeper:\n    params:\n      scenario.train_samples: 8,16\n"
    sources = "data_mix:\n  sources:\n    chats.v1.5: {share: 0.5, kind: chats, path: chats}\n"
    experiment(tmp_path, f"{PACKAGE}name: mine\n{sources}{swept}")
    found = compose_jobs(["+experiment=mine", "scale=smoke"], str(tmp_path))
    assert [job.config["scenario"]["train_samples"] for job in found] == [8, 16]
    assert "chats.v1.5" in found[0].config["data_mix"]["sources"]


@pytest.mark.parametrize("file", ["a.txt", "a.yaml"])
@pytest.mark.parametrize(("folder", "argument"), [("corpus", "corpus=./docs"), ("seed", "seed=3"), ("name", "name=x")])
def test_a_folder_named_like_a_setting_is_no_group(tmp_path: Path, folder: str, argument: str, file: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / file).write_text("name: other\n")
    [job] = compose_jobs(["scale=smoke", argument], str(tmp_path))
    key, value = argument.split("=")
    assert str(job.config["corpus"]["source"] if key == "corpus" else job.config[key]) == value


def test_a_folder_without_configs_is_no_group_and_one_with_them_is(tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    file = tmp_path / "extra" / "more.txt"
    file.write_text("# @package _global_\nname: more\n")
    with pytest.raises(ConfigError, match="extra = 'more': unknown key"):
        settle(compose_jobs(["scale=smoke", "+extra=more"], str(tmp_path)))
    file.rename(file.with_suffix(".yaml"))
    [job] = compose_jobs(["scale=smoke", "+extra=more"], str(tmp_path))
    assert job.config["name"] == "more"


def test_files_that_an_experiment_names_are_checked_too(tmp_path: Path) -> None:
    experiment(tmp_path, f"{PACKAGE}defaults:\n- override /length: mine\n")
    (tmp_path / "length").mkdir()
    file = tmp_path / "length" / "mine.yaml"
    file.write_text("name: mine\nmax_tokens: 300\nname: mine\n")
    (tmp_path / "length" / "other.yaml").write_text("broken: [")  # nothing names it
    with pytest.raises(ConfigError, match=re.escape(f"{file}:3: name stands already in line 1")):
        jobs(tmp_path)
    file.write_text("name: mine\nmax_tokens: 300\n")
    assert jobs(tmp_path) == 1
    file.rename(file.with_suffix(".yml"))
    with pytest.raises(ConfigError, match=re.escape("mine.yml:1: is not read; name it mine.yaml")):
        jobs(tmp_path, "length=mine")


def test_a_key_outside_its_section_and_a_config_that_is_not_read(tmp_path: Path) -> None:
    experiment(tmp_path, f"{PACKAGE}training:\nepochs: 3\n")
    with pytest.raises(
        ConfigError, match=r"epochs = 3: unknown key; did you mean training\.epochs\? In a file it stands"
    ):
        jobs(tmp_path)
    (tmp_path / "config.yaml").write_text("name: mine\n")
    notes: list[str] = []
    settle(compose_jobs(["scale=smoke"], str(tmp_path)), notes.append)
    assert any("config.yaml: is not read; put its keys into" in note for note in notes)
    experiment(tmp_path, f"{PACKAGE}name: ${{nothing\n")
    with pytest.raises(ConfigError, match=r"name: no viable alternative at input '\$\{nothing'; correct it"):
        jobs(tmp_path)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    sign = tmp_path / "made"
    experiment(tmp_path, f"{PACKAGE}name: !!python/object/apply:os.mkdir ['{sign}']\n")
    with pytest.raises(ConfigError, match="could not determine a constructor for the tag"):
        jobs(tmp_path)
    assert not sign.exists()


def test_a_configuration_keeps_its_name_behind_the_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    for given, kept in (("set:laws", f"{tmp_path}/set:laws"), ("owner/set:laws", "owner/set:laws"), ("o/n", "o/n")):
        [settings] = settle(compose_jobs(["scale=smoke", f"corpus={given}"]), lambda line: None)
        assert settings.corpus.source == kept


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            f"{PACKAGE}# a\u2028b\nname: x\n",
            2,
            "holds U+2028, which ends a line to YAML and to few editors; write it as",
        ),
        (f"{PACKAGE}name: x\nquestion: 'a\x85b'\n", 3, "holds U+0085, which ends a line to YAML"),
        (f"{PACKAGE}name: x\n# a\x0cb\n", 3, "holds the control character U+000C; take it out"),
        (f"{PACKAGE}name: x\n---\nseed: 1\n", 3, "is no YAML (but found another document); take the line --- out"),
        (
            f"{PACKAGE}hydra:\n  sweeper:\n    params:\n      seed:\n",
            5,
            "seed has no value to sweep over; write seed: VALUE,VALUE",
        ),
    ],
)
def test_what_only_yaml_sees_is_told_with_the_line_of_an_editor(
    tmp_path: Path, text: str, line: int, told: str
) -> None:
    file = experiment(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(f"{file}:{line}: {told}")):
        jobs(tmp_path)


@pytest.mark.parametrize("line_end", ["\r", "\r\n"])
def test_lines_of_other_systems_are_lines(tmp_path: Path, line_end: str) -> None:
    experiment(tmp_path, f"{PACKAGE}name: x\nseed: 3\n".replace("\n", line_end))
    assert jobs(tmp_path) == 1
