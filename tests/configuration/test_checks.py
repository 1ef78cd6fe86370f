"""Mistakes in settings: all told together, each with its key, value, rule and fix, before anything is made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import ConfigError
from longsafety.scenarios.tasks.registry import TASKS


def problems(*arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settle(compose_jobs(arguments))
    return caught.value.problems


def only(lines: list[str], key: str) -> str:
    """The one problem that is about ``key``."""
    found = [line for line in lines if re.match(rf"{re.escape(key)}( =|:)", line)]
    assert len(found) == 1, lines
    return found[0]


def test_all_mistakes_are_reported_together() -> None:
    lines = problems("scale=smoke", "training.epoch=2", "training.lr_peak=fast", "length=16k")
    assert len(lines) == 3
    assert re.fullmatch(
        r"training\.epoch = 2: unknown key; did you mean training\.epochs\?", only(lines, "training.epoch")
    )
    assert re.fullmatch(
        r"training\.lr_peak = 'fast': should be a valid number; change the value", only(lines, "training.lr_peak")
    )
    assert re.fullmatch(
        r"length\.max_tokens = 16384: .*2048-token window of model tiny; give at most 1792 or another model",
        only(lines, "length.max_tokens"),
    )


def test_the_error_counts_and_lists_the_mistakes() -> None:
    with pytest.raises(ConfigError, match=r"(?s)^2 settings are wrong:\n  \S+.*\n  \S+.*$"):
        settle(compose_jobs(["scale=smoke", "training.epoch=2", "seed=-1"]))


@pytest.mark.parametrize(
    ("arguments", "key", "rest"),
    [
        (["trainning.epochs=2"], "trainning", r" = \{'epochs': 2\}: unknown key; did you mean training\?"),
        (["scenario.tasks.Foo.train=1"], "scenario.tasks.Foo.bench", ": is missing; give it a value"),
        (["stages=[score,cook]"], "stages.1", " = 'cook': should be 'plan', .*; change the value"),
        (["training.epochs=true"], "training.epochs", " = True: should be a valid integer; change the value"),
        (
            ["stages=[report]"],
            "stages",
            r" = \[report\]: reports what score has compared; set stages=\[score,report\], or .*",
        ),
        (["teacher.model=x"], "teacher.model", " = x: teacher = template asks no model; set teacher=openai .*"),
        (["stages=[]"], "stages", r" = \[\]: nothing would be done; give stages, or leave the setting out"),
        (["stages=[build,build]"], "stages", r" = \[build, build\]: build stands twice; leave one out"),
        (
            ["evaluation.scorers=[letter,letter]"],
            "evaluation.scorers",
            r" = \[.*\]: letter stands twice; leave one out",
        ),
        (
            ["gate.safe_response_min=0.5", "stages=[build]"],
            "gate.safe_response_min",
            r" = 0.5: is held against a comparison, and stages = \[build\] makes none; add score .*",
        ),
        (["launcher.jobs=2"], "launcher.jobs", " = 2: launcher = local does not read it; set launcher=parallel, or .*"),
        (["launcher.gpus=0"], "launcher.gpus", " = 0: launcher = local does not read it; set launcher=parallel, or .*"),
        (
            ["clean.remove=true"],
            "clean.remove",
            r" = true: stages = \[.*\] clears nothing up; set stages=\[clean\], or .*",
        ),
        (
            ["plan.simulate=true"],
            "plan.simulate",
            r" = true: stages = \[.*\] plans nothing; set stages=\[plan\], or .*",
        ),
        (["contrasts=[[base,base]]"], "contrasts", r" = \[base, base\]: an arm against itself; name two arms"),
        (["evaluation.system=no/such.txt"], "evaluation.system", " = no/such.txt: no such file; give a file that .*"),
        (["training.lr_peak=inf"], "training.lr_peak", " = inf: should be a finite number; change the value"),
        (["length.rope.kind=yarn", "length.rope.factor=nan"], "length.rope.factor", " = nan: should be a finite .*"),
        (["training.betas=[0.9,1.0]"], "training.betas.1", " = 1.0: should be less than 1; change the value"),
        (
            ["training.betas=[0.9]"],
            "training.betas",
            r" = \[0.9\]: should have at least 2 items, not 1; change the value",
        ),
        (["seed='1'"], "seed", " = '1': should be a valid integer; change the value"),
        (["trainer.strategy=fsdp"], "trainer.strategy", " = 'fsdp': should be 'auto', 'ddp' or .*; change the value"),
        (["trainer.strateggy=ddp"], "trainer.strateggy", r" = 'ddp': unknown key; did you mean trainer\.strategy\?"),
        (["training.lr_peak=${nix}"], "training.lr_peak", ": .*'nix' not found; fix the interpolation"),
        (
            ["data_mix.budget=25", "data_mix.budget_unit=samples"],
            "data_mix.budget",
            " = 25: the scenario builds 24 .*; give at most 24, .*",
        ),
        (
            ["stages=[build,export]", "export.format=lm_eval", "export.path=new", "export.twins=true"],
            "export.twins",
            " = true: only longsafety_bench has columns for twins, and export.format = lm_eval; set export.format=.*",
        ),
        (
            ["data_mix=oracle", "evaluation.items=items.jsonl"],
            "data_mix.sources.oracle.kind",
            r" = oracle: .*not on evaluation\.items\.path = .*items\.jsonl; leave one of them out",
        ),
        (["data_mix.sources.longsafety.share=0.5"], "data_mix.sources", ".*sum to 0.5; make them sum to 1"),
        (
            ["training.batch_size=6", "training.packing=none"],
            "training.batch_size",
            " = 6: not a multiple of .*; change one of them",
        ),
        (
            ["trainer=deepspeed_zero2_cpu", "training.optimizer=adamw_8bit"],
            "training.optimizer",
            " = adamw_8bit: DeepSpeed keeps .*; set training.optimizer=adamw, or trainer.strategy=auto",
        ),
        (
            ["trainer=deepspeed_zero3_cpu", "model.mlp_tile_tokens=64"],
            "model.mlp_tile_tokens",
            " = 64: has not been tried with ZeRO-3.*; set it to null, or trainer.zero.stage=2",
        ),
        (["tracking.uri=mlruns"], "tracking.uri", r" = 'mlruns': is a plain path.*; give sqlite:///PATH\.db .*"),
        (["length.train_tokens=9999"], "length.train_tokens", " = 9999: .*; give at most 1792 or another model"),
        (
            ["scoring=official", "evaluation.scorers=[likelihood]"],
            "scoring",
            " = official: .*; add letter to evaluation.scorers",
        ),
        (["length.lengths=[200,300]"], "length.lengths.1", r" = 300: above length\.max_tokens = 256; raise it"),
        (["length.mean_tokens=256"], "length.mean_tokens", " = 256: the spread ends at .* = 256, .*; raise it"),
        (["length.bench_mean_tokens=900"], "length.bench_mean_tokens", " = 900: the spread ends at .*; raise it"),
        (
            ["length.mean_tokens=200", "length.lengths=[200]"],
            "length.mean_tokens",
            r" = 200: length\.lengths = \[200\] already gives the lengths; leave one out",
        ),
        (
            ["scenario=longsafety_bench"],
            "data_mix.budget",
            " = 800: the scenario builds 0 .*; choose data_mix=base, .*",
        ),
        (["scenario.tasks.Foo={train: 1, bench: 0}"], "scenario.tasks.Foo", " = .*: no such task; choose .*LawQA.*"),
        (
            ["scenario.only_own_seeds=true"],
            "scenario.only_own_seeds",
            " = true: scenario.seeds is shipped, .*; give .*",
        ),
        (["teacher=openai"], "teacher.model", " = None: teacher.kind=openai needs a model; set the name that .*"),
        (
            ["teacher=openai", "teacher.model=m", "teacher.base_url=localhost:8000"],
            "teacher.base_url",
            " = 'localhost:8000': .* such as http://127.0.0.1:8000/v1",
        ),
        (["teacher=transformers", "teacher.model=null"], "teacher.model", " = None: .*; set a folder or hub name"),
        (["teacher.kind=parrot"], "teacher.kind", " = 'parrot': should be 'template', .*; change the value"),
        (
            ["teacher=openai", "teacher.model=m", "teacher.base_url=3"],
            "teacher.base_url",
            " = '3': .* address, .*",
        ),
        (["export.path=x"], "export.path", r" = x: stages has no export; add export to stages"),
        (["export.format=messages"], "export.format", r" = messages: stages has no export; add export to stages"),
        (["stages=[build,export]", "export.path=x"], "export.format", " = None: stages has export, .*; give it"),
        (["stages=[build,export]", "export.format=messages"], "export.path", " = None: stages has export, .*; give it"),
        (["export.format=yaml"], "export.format", " = 'yaml': should be 'longsafety_17k', .*; change the value"),
        (["export.kinds=[harmful,hard]"], "export.kinds.1", " = 'hard': should be 'harmful'.*; change the value"),
        (["export.kinds=[]"], "export.kinds", r" = \[\]: should .*at least 1 item.*"),
        (["read.path=x"], "read.path", r" = x: a file is only read to be exported; set stages=\[build,export\]"),
        (
            ["read.path=x", "read.format=17k"],
            "read.format",
            " = 17k: no such schema; choose from auto, longsafety_17k, .*",
        ),
        (
            ["+data_mix.sources.mine={kind: chats, share: 1.0}"],
            "data_mix.sources.mine.path",
            ".* needs a path; give one",
        ),
        (
            ["+data_mix.sources.mine={kind: chats, share: 1.0, path: x, format: y}"],
            "data_mix.sources.mine.format",
            " = y: no such schema; .*",
        ),
        (
            ["data_mix.sources.longsafety.path=x"],
            "data_mix.sources.longsafety.path",
            " = x: a source of kind longsafety is built, not read; leave it out, or set kind=chats",
        ),
        (["on_bad_row=ignore"], "on_bad_row", " = 'ignore': should be 'error' or 'skip'; change the value"),
        (
            ["model.attention=eager"],
            "training.packing",
            " = packed: model.attention = eager .*; set model.attention=.*",
        ),
        (
            ["model.attention=flash_attention_2", "trainer.accelerator=auto"],
            "training.share_prefixes",
            " = true: flash_attention_2 does not support .*; set model.attention=auto, or .*",
        ),
        (
            ["model.attention=flex", "trainer.accelerator=auto", "training.packing=none"],
            "model.attention",
            " = flex: needs packs, and training.packing = none; set model.attention=auto",
        ),
        (["model.attention=varlen", "trainer=cpu"], "model.attention", " = varlen: needs a GPU; set .*=auto"),
        (
            ["model.attention=flex", "trainer.accelerator=auto", "model.gradient_checkpointing=selective"],
            "model.gradient_checkpointing",
            " = selective: cannot keep the output of FlexAttention; set model.gradient_checkpointing=full, or .*",
        ),
        (
            ["trainer=ddp_cpu", "trainer.sequence_parallel=2"],
            "trainer.sequence_parallel",
            " = 2: needs DeepSpeed, and trainer.strategy = ddp; set trainer=deepspeed_zero3",
        ),
        (
            ["trainer=deepspeed_zero3_cpu", "trainer.sequence_parallel=4"],
            "trainer.sequence_parallel",
            r" = 4: does not divide trainer.devices × trainer.num_nodes = 2 × 1; change one of them",
        ),
        (
            ["trainer=deepspeed_zero3_cpu", "trainer.sequence_parallel=2", "training.packing=none"],
            "trainer.sequence_parallel",
            " = 2: splits packs, and training.packing = none; set training.packing=packed",
        ),
        (
            ["trainer=deepspeed_zero3_cpu", "trainer.sequence_parallel=2", "model=smollm2"],
            "trainer.sequence_parallel",
            r" = 2: the model's 9 heads \(3 of keys and values\) cannot be dealt evenly; give a divisor of both, or 1",
        ),
        (
            [
                "trainer=deepspeed_zero3",
                "trainer.sequence_parallel=2",
                "model.attention=flash_attention_2",
                "training.share_prefixes=false",
            ],
            "trainer.sequence_parallel",
            " = 2: does not work with model.attention = flash_attention_2; set model.attention=auto",
        ),
        (["length.rope.kind=abf"], "length.rope.theta", " = null: abf needs the base frequency; give .*"),
        (["length.rope.kind=dynamic"], "length.rope.kind", " = dynamic: .* chats together; choose yarn, or .*"),
        (
            ["data_mix=base", "stages=[train,export]", "export.format=weights", "export.path=new"],
            "export.format",
            " = weights: data_mix=base trains nothing; choose another data_mix",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_one_mistake_has_key_value_rule_and_fix(arguments: list[str], key: str, rest: str) -> None:
    line = only(problems("scale=smoke", *arguments), key)
    assert re.fullmatch(re.escape(key) + rest, line), line


def test_a_wrong_value_of_two_types_is_one_line() -> None:
    assert len(problems("scale=smoke", "trainer.devices=0")) == 1


def test_a_rule_over_a_broken_key_is_left_out() -> None:
    """The window is unknown here, so nothing is said about the length."""
    lines = problems("scale=smoke", "model.window=big", "length=16k")
    assert [line.split(" ")[0] for line in lines] == ["model.window"]


@pytest.mark.slow
def test_mistakes_of_all_jobs_are_reported_once_each() -> None:
    lines = problems("scale=smoke", "+experiment=mix_ablation", "length=1k,4k,8k", "training.epoch=2")
    assert [line.split(":")[0] for line in lines] == [
        "training.epoch = 2",
        "length.max_tokens = 4096",
        "length.max_tokens = 8192",
    ]


EXPORTING = ("scale=smoke", "stages=[build,export]")


@pytest.mark.parametrize("format", ["messages", "longsafety_bench"])
def test_what_an_export_writes_is_what_the_scenario_has(format: str, tmp_path: Path) -> None:
    typed = (*EXPORTING, f"export.format={format}", f"export.path={tmp_path}/new")
    none = "training samples" if format == "messages" else "benchmark items"
    tasks = [f"scenario.tasks.{task}.{'train' if format == 'messages' else 'bench'}=0" for task in TASKS]
    [line] = problems(*typed, *tasks)
    expected = rf"export\.format = {format}: writes {none}, and scenario compact has none; choose another scenario"
    assert re.fullmatch(expected, line)
    settle(compose_jobs([*typed, *tasks, "read.path=x"]))  # of a file that is read it may be anything


def test_an_export_into_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").touch()
    typed = (*EXPORTING, "export.format=messages", f"export.path={tmp_path}")
    [line] = problems(*typed)
    assert re.fullmatch(r"export\.path = \S+: is not empty; give a new or empty folder", line)
    [line] = problems(*typed[:-1], f"{typed[-1]}/kept.txt")
    assert re.fullmatch(r"export\.path = \S+/kept\.txt: is a file; give .*", line)
    settle(compose_jobs([*typed[:-1], f"{typed[-1]}/new"]))


@pytest.mark.parametrize(("format", "name"), [("inspect", "longsafety_bench"), ("lm_eval", "longsafety_rows")])
def test_an_export_that_datasets_would_not_open(tmp_path: Path, format: str, name: str) -> None:
    line = only(problems(*EXPORTING, f"export.format={format}", f"export.path={tmp_path}/{name}"), "export.path")
    assert re.search(rf"datasets\.load_dataset refuses a folder that holds {name}\.py; give .* another name", line)


def test_data_that_is_only_built_needs_no_window_and_no_budget() -> None:
    """No model sees it: model, mix and limits do not matter."""
    long = ("scale=smoke", "length=32k", "scenario=longsafety_bench")
    assert [line.split(" ")[0] for line in problems(*long)] == ["length.max_tokens", "data_mix.budget"]
    settle(compose_jobs([*long, "stages=[build]"]))


def test_mistakes_of_every_part_are_told_together() -> None:
    lines = problems("scale=smoke", "length.lengths=[300]", "teacher=openai", "export.path=x", "read.path=y", "seed=-1")
    keys = ["seed", "length.lengths.0", "teacher.model", "export.path", "read.path"]
    assert sorted(line.split(" ")[0] for line in lines) == sorted(keys)


SERVER = ("evaluation.server.model=m", "evaluation.server.base_url=http://127.0.0.1:8000/v1")
LETTERS = "evaluation.scorers=[letter]"


@pytest.mark.parametrize(
    ("arguments", "key", "rest"),
    [
        (["data_mix=base", LETTERS], "evaluation.backend", " = openai: there is no server; give .*server.model and .*"),
        (
            ["data_mix=base", *SERVER],
            "evaluation.scorers",
            r" = \[likelihood\]: .* no likelihood .*; choose from .*",
        ),
        ([LETTERS, *SERVER], "data_mix", " = longsafety: a server answers with its own model, .*; set .*"),
        (
            ["data_mix=base", LETTERS, SERVER[0], "evaluation.server.base_url=localhost"],
            "evaluation.server.base_url",
            " = 'localhost': must be the server's address, such as .*",
        ),
        (["data_mix=base", LETTERS, *SERVER, "evaluation.processes=2"], "evaluation.processes", " = 2: .* set it to 1"),
        (["evaluation.backend=vllm", "evaluation.processes=3"], "evaluation.processes", " = 3: needs .* to 1"),
        (["data_mix=base", "evaluation.backend=vllm", *SERVER], "evaluation.server.model", " = m: .* set .*=openai.*"),
    ],
)
def test_a_server_that_cannot_answer(arguments: list[str], key: str, rest: str) -> None:
    line = only(problems("evaluation.backend=openai", *arguments), key)
    assert re.fullmatch(re.escape(key) + rest, line), line


def test_a_server_that_can_answer() -> None:
    settle(compose_jobs(["evaluation.backend=openai", "data_mix=base", LETTERS, *SERVER]))
