"""The stages of a run, in the order of the paper's method: data, training, evaluation, scores, export.

Each stage has a file of its own beside this one and is a function of the :class:`~longsafety.pipeline.run.Run`. A stage
is imported when it has to run, so that what is kept loads no library.
"""

from __future__ import annotations

from longsafety.pipeline.run import Run, failed_answers, read_json, write_json

PREPARED = "prepared.json"
"""In a run's folder: stage → seconds, of what was made for it before the sweep's first training."""


def execute(run: Run) -> None:
    """Makes what is missing of the run's stages; it is not done while answers of a server are missing.

    Raises ConfigError or DataError before anything is trained in vain.
    """
    if (run.folder / PREPARED).is_file():
        run.seconds.update(read_json(run.folder / PREPARED))
    if run.settings.rescores:
        score_recorded(run)
    else:
        stages = run.settings.stages
        check(run)
        if "build" in stages:
            build(run)
        if "evaluate" in stages:
            choose_items(run)
        if "train" in stages:
            train(run)
        if "evaluate" in stages:
            evaluate(run)
        if "score" in stages:
            score(run)
        if "export" in stages:
            export(run)
    if not ("evaluate" in run.settings.stages and failed_answers(run)):
        run.finish()


def prepare(run: Run, *, trains_here: bool = True) -> None:
    """Makes what comes before the training. What cannot succeed is an error here, before another run has trained.

    Whether this machine can train it is not asked where another one does, ``trains_here=False``.
    """
    stages = run.settings.stages
    check(run, trains_here=trains_here)
    if "build" in stages:
        build(run)
    if "evaluate" in stages:
        choose_items(run)
    write_json(run.folder / PREPARED, run.seconds)


def check(run: Run, *, trains_here: bool = True) -> None:
    """What model and machine cannot do is an error before anything is built."""
    if {"train", "evaluate"} & {*run.settings.stages} and not run.settings.rescores:
        check_model(run)
    if trains_here and run.settings.trains and run.find("weights") is None:
        from longsafety.model.kernels import chosen_attention

        chosen_attention(run.settings)


def check_model(run: Run) -> None:
    """Of the model that is trained or asked here, where there is work for it."""
    asks = run.settings.evaluation.backend != "openai" and run.find("answers") is None
    if not asks and not (run.settings.trains and run.find("weights") is None):
        return
    from longsafety.model.tokenizer import check_fits

    length = run.settings.length
    longest = max(length.training_tokens if run.settings.trains else 0, length.bench_tokens if asks else 0)
    check_fits(run.settings.model, run.cache, length.rope, longest)


def build(run: Run) -> None:
    """Seed items → documents → samples and benchmark → the arm's mix; a run that only builds shows its audit."""
    if run.settings.read.path is not None:
        return
    from longsafety.pipeline.gate import gate
    from longsafety.pipeline.samples import benchmark, samples, splits

    there = splits(run)
    if there["bench"] or run.settings.reads_items:
        benchmark(run)
        if run.settings.scenario.strict:
            gate(run)
    if run.settings.only_builds:
        from longsafety.pipeline.show import show

        if there["train"]:
            samples(run)
        show(run)
    elif run.settings.data_mix.sources and run.find("weights") is None:
        from longsafety.pipeline.mix import mix
        from longsafety.pipeline.phases import phases

        for phase in phases(run):
            if phase.find("weights") is None:
                mix(phase)


def choose_items(run: Run) -> None:
    """Which items are asked, each made to fit: what cannot be asked is an error before anything is trained."""
    if run.find("answers") is None:
        from longsafety.evaluation.backends.processes import devices
        from longsafety.pipeline.asked import asked

        if run.settings.evaluation.processes != 1:
            devices(run.settings.evaluation, run.settings.trainer.accelerator)
        asked(run)
    if run.settings.evaluation.capability and run.find("capability") is None:
        from longsafety.pipeline.capability import check_suites

        check_suites(run)


def train(run: Run) -> None:
    """The arm's weights, on its mix."""
    if run.settings.data_mix.sources and run.find("weights") is None:
        from longsafety.pipeline.weights import weights

        weights(run)


def evaluate(run: Run) -> None:
    """The model's answers to every item, and the scores of capability suites."""
    if run.find("answers") is None or failed_answers(run):
        if run.settings.evaluation.backend != "openai":
            train(run)
        from longsafety.pipeline.answers import answers

        answers(run)
    if run.addresses.capability and run.find("capability") is None:
        train(run)
        from longsafety.pipeline.capability import capability

        capability(run)


def score(run: Run) -> None:
    """Scores of the kept answers, and the record of the run."""
    from longsafety.pipeline.scores import scores

    scores(run)


def export(run: Run) -> None:
    """Data, a converted file, or the trained model, for others to open."""
    from longsafety.pipeline.export import convert, export_data, export_model

    if run.settings.read.path is not None:
        convert(run)
    elif not run.settings.exports_weights:
        export_data(run)
    elif run.settings.data_mix.sources:
        export_model(run)


def score_recorded(run: Run) -> None:
    """Answers that another program recorded, scored like ours."""
    from longsafety.pipeline.recorded import recorded
    from longsafety.pipeline.scores import scores

    recorded(run)
    scores(run)
