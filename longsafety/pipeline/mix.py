"""The training samples of an arm: what its data mix draws from the stages and from the user's chats."""

from __future__ import annotations

from longsafety.data.mix import Mix, compose_mix
from longsafety.errors import DataError, print_left_out
from longsafety.formats.public import read_public
from longsafety.pipeline.baselines import baseline
from longsafety.pipeline.corpus import encoder, facts
from longsafety.pipeline.run import Run, once
from longsafety.pipeline.samples import SAMPLES, benchmark, samples
from longsafety.samples.recipe import Sample, SampleFile
from longsafety.scenarios.baselines import BASELINE_KINDS
from longsafety.vocabulary import BENIGN_TWINS


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
    return compose_mix(
        settings.data_mix,
        files,
        lambda sample: len(render.answer_ids(sample.question, sample.answer)),
        licence=facts(run)["licence"],
        draw_seed=settings.scenario.seed,
        seed=settings.training_seed,
        chats={name: _chats(run, name) for name, source in settings.data_mix.sources.items() if source.kind == "chats"},
    )


def _oracle(run: Run) -> list[Sample]:
    """The benchmark's items and their benign twins, each with its right option as the answer."""
    return [
        item.replace(kind="oracle", answer=item.choices[item.roles.index(item.right)][0])
        for item in SampleFile(benchmark(run) / SAMPLES)
        if item.kind in ("harmful", *BENIGN_TWINS)
    ]


def _chats(run: Run, name: str) -> list[Sample]:
    """The user's chats, as long as they are in tokens."""
    source = run.settings.data_mix.sources[name]
    assert source.path is not None
    read = read_public(source.path, schema=source.format, on_bad_row=run.settings.on_bad_row)
    print_left_out(read.bad)
    if read.kind != "chats":
        raise DataError(
            f"data_mix.sources.{name}.path = {source.path}: {read.schema} holds {read.kind}, no training chats; give a "
            "file with answers"
        )
    return [_measured(run, sample, name) for sample in read.samples]


def _measured(run: Run, sample: Sample, source: str) -> Sample:
    ids, _ = encoder(run).sample_ids(sample)
    limit = run.settings.length.training_tokens
    if len(ids) > limit:
        raise DataError(
            f"data_mix.sources.{source}: {sample.id} has {len(ids)} tokens, more than the {limit} of "
            "length.max_tokens; raise it or shorten the sample"
        )
    return sample.replace(num_tokens=len(ids))
