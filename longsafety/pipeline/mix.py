"""The training samples of an arm: what its data mix draws from the stages and from the user's chats."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from longsafety.data.fit import Fitted
from longsafety.data.mix import Mix, compose_mix
from longsafety.errors import DataError, print_left_out
from longsafety.formats.public import read_public
from longsafety.pipeline.baselines import baseline
from longsafety.pipeline.corpus import control, encoder, facts
from longsafety.pipeline.run import Run, once
from longsafety.pipeline.samples import SAMPLES, benchmark, samples
from longsafety.samples.recipe import Sample, SampleFile
from longsafety.samples.system import placed
from longsafety.samples.thoughts import part_thoughts
from longsafety.scenarios.baselines import BASELINE_KINDS
from longsafety.vocabulary import BENIGN_TWINS

_NO_LOSS = ("rows read", "samples")
"""What a reader counts that is neither left out nor changed."""


@once
def mix(run: Run) -> Mix:
    """The arm's samples and the table of its sources. Raises DataError for chats that cannot be trained on."""
    settings = run.settings
    kinds = {source.kind for source in settings.data_mix.sources.values()}
    folders = [baseline(run, kind) for kind in BASELINE_KINDS if kind in kinds]
    if kinds - {*BASELINE_KINDS, "oracle", "chats"}:
        folders.append(samples(run))
    files: list[SampleFile | list[Sample]] = [SampleFile(folder / SAMPLES) for folder in folders]
    if "oracle" in kinds:
        files.append(_oracle(run))
    render = encoder(run)
    counts: Counter[str] = Counter()
    named = [name for name, source in settings.data_mix.sources.items() if source.kind == "chats"]
    chats = {name: _chats(run, name, counts) for name in named}
    found = compose_mix(
        settings.data_mix,
        files,
        render.num_supervised,
        licence=facts(run)["licence"],
        draw_seed=settings.scenario.seed,
        seed=settings.training_seed,
        chats=chats,
    )
    return replace(found, counts=dict(counts))


def _oracle(run: Run) -> list[Sample]:
    """The benchmark's items and their benign twins, each with its right option as the answer."""
    return [
        item.replace(kind="oracle", answer=item.choices[item.roles.index(item.right)][0])
        for item in SampleFile(benchmark(run) / SAMPLES)
        if item.kind in ("harmful", *BENIGN_TWINS)
    ]


def _chats(run: Run, name: str, counts: Counter[str]) -> list[Sample]:
    """The user's chats, as long as they are in tokens; what was left out or changed is counted.

    Over-long ones are treated as ``training.over_length`` says, before the source's share is drawn.
    """
    settings, source, key = run.settings, run.settings.data_mix.sources[name], f"data_mix.sources.{name}"
    assert source.path is not None
    read = read_public(source.path, schema=source.format, on_bad_row=settings.on_bad_row, key=key)
    print_left_out(read.bad)
    if read.kind != "chats":
        raise DataError(
            f"{key}.path = {source.path}: {read.schema} holds {read.kind}, no training chats; give a file with answers"
        )
    special = control(run)
    systems = placed(read.samples, encoder(run).template, fold=settings.model.fold_system)
    if systems is None:
        count = sum(bool(sample.system) for sample in read.samples)
        raise DataError(
            f"{key}.path = {source.path}: {count} of {len(read.samples)} chats begin with a system message, and the "
            "model's chat template has no system role; set model.fold_system=true to put it at the beginning of the "
            "user's turn, or leave these messages out"
        )
    chats, in_users_turn = systems
    told = [_without_earlier_thoughts(sample) for sample in chats if not part_thoughts(sample.answer).cut]
    plain = [sample for sample in told if special.found_in(_texts(sample)) is None]
    fitted = Fitted(plain, encoder(run), settings.training, settings.length.training_tokens)
    try:
        measured = [sample.replace(num_tokens=len(encoder(run).sample_ids(sample)[0])) for sample in fitted]
    except DataError as error:
        raise DataError(f"{key}: {error}") from error
    own = {reason: count for reason, count in read.counts.items() if reason not in _NO_LOSS}
    own |= {f"trained {where}": count for where, count in in_users_turn.items()}
    own["left out: a thought without an answer"] = len(read.samples) - len(told)
    own["left out: hold a special token of the model"] = len(told) - len(plain)
    own["thoughts of earlier turns left out"] = sum(
        part_thoughts(reply).thoughts is not None for sample in read.samples for _, reply in sample.history
    )
    own |= {f"{what}: longer than {fitted.longest} tokens": len(lost) for what, lost in fitted.lost.items()}
    for reason, count in own.items():
        if count:
            counts[f"{key}: {reason}"] = count
            print(f"  {key}: {reason}: {count}", flush=True)
    if not measured:
        raise DataError(
            f"{key}.path = {source.path}: none of {len(read.samples)} chats is left (what was left out stands above); "
            "give other chats, raise length.max_tokens, or take the special tokens out of them"
        )
    return measured


def _texts(sample: Sample) -> list[object]:
    said = part_thoughts(sample.answer)  # the marks of a thought are the model's own
    return [sample.system, sample.question, *([sample.answer] if said.thoughts is None else said[:2]), sample.history]


def _without_earlier_thoughts(sample: Sample) -> Sample:
    """As chat templates render earlier turns."""
    said = [part_thoughts(reply) for _, reply in sample.history]
    if all(one.thoughts is None for one in said):
        return sample
    kept = [
        (user, reply if one.thoughts is None else one.reply)
        for (user, reply), one in zip(sample.history, said, strict=True)
    ]
    return sample.replace(history=tuple(kept))
