"""What a training will cost, estimated from its settings: steps, FLOPs, hours, memory, disk. Loads no weights.

FLOPs of a trained token: 6 per weight of the layers' matrices (forward 2, gradient of activations 2, of weights 2; 4
if the weights are frozen), plus causal attention: 6 · layers · heads · head size · context tokens (half of the square,
forward and backward). Checkpointing repeats the forward pass. Shared prefixes count once. The head is left out: it sees
supervised tokens only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from longsafety.model.shape import Shape, shape_of, shape_problem
from longsafety.planning.evaluation import CHARACTERS, EvaluationCost, evaluation_cost
from longsafety.planning.fixes import smallest_fix
from longsafety.planning.memory import PEAK_FLOPS, available_memory, training_memory
from longsafety.planning.sharing import Sharing, sharing
from longsafety.scenarios.seeds.shipped import shipped_seeds
from longsafety.settings import Settings, full_layers

UTILISATION = 0.4
"""Share of a GPU's bfloat16 peak that is assumed to be reached."""


@dataclass(frozen=True)
class Plan:
    """One job's figures. ``None`` is unknown; ``unknowns`` says why."""

    label: str
    length: str
    """Length of the benchmark items: ``512``; ``256 and 512``; ``41,900 on average, at most 130,816``."""
    devices: int
    precision: str
    samples: int
    steps: int
    tokens: int
    pack_tokens: int
    sharing: Sharing
    """What shared prefixes save, and how many devices have work."""
    parameters: int | None
    trainable: int | None
    flops: float | None
    hours: dict[str, float | None]
    """GPU → hours of training on all devices (wall time)."""
    memory: dict[str, float] | None
    """Part → bytes on one device."""
    available: float | None
    """Bytes of one device."""
    disk: dict[str, float] | None
    checkpoint_every_steps: int
    evaluation: EvaluationCost
    evaluation_hours: dict[str, float | None]
    """GPU → hours of evaluation (wall time), in ``evaluation.processes``. Reply tokens count as prompt tokens, although
    they are slower."""
    asking: int
    """Processes, each with a GPU, that evaluate."""
    unknowns: tuple[str, ...]
    gpu: str
    price_per_hour: float
    """Of one GPU of this kind."""
    served: float
    """What the server that answers charges."""
    fix: str | None
    """Overrides that make it fit; ``None`` if it fits, or if none were found."""

    @property
    def peak(self) -> float | None:
        return None if self.memory is None else sum(self.memory.values())

    @property
    def fits(self) -> bool | None:
        if self.memory is None or self.available is None:
            return None
        return sum(self.memory.values()) <= self.available


def plan(settings: Settings) -> Plan:
    """The figures of one job, and overrides that make it fit if it does not."""
    made = _plan(settings)
    if made.fits is not False:
        return made
    return replace(made, fix=smallest_fix(settings, lambda changed: _plan(changed).fits is True))


def _plan(settings: Settings) -> Plan:
    training, trainer, length = settings.training, settings.trainer, settings.length
    shape, trains = shape_of(settings.model), bool(settings.data_mix.sources)
    samples = settings.data_mix.budget * training.epochs if trains else 0
    mean = round(length.training_lengths.average)
    unknowns = ["supervised tokens: known once the data is built"]
    if settings.data_mix.budget_unit == "tokens" and trains:
        answer = _answer_tokens(settings.scenario.language)
        samples = round(samples / answer)
        unknowns = [f"samples: data_mix.budget counts supervised tokens; estimated for {answer:.0f} a sample"]
    tokens = samples * mean
    devices = trainer.devices if isinstance(trainer.devices, int) else 1
    if trainer.devices == "auto" and trainer.accelerator != "cpu":
        unknowns.append("devices: trainer.devices=auto; estimated for one device")
    devices *= trainer.num_nodes
    precision = trainer.precision
    if precision == "auto":
        precision = "bf16-mixed"
        unknowns.append("precision: trainer.precision=auto; estimated for bf16-mixed")
    shared = sharing(settings, devices)
    pack = shared.budget
    evaluation = evaluation_cost(settings)
    unknowns += evaluation.unknowns
    processes = settings.evaluation.processes
    asking = devices // trainer.num_nodes if processes == "auto" else processes
    common: dict[str, Any] = {
        "label": settings.label or settings.data_mix.name, "length": str(length.bench_lengths), "devices": devices,
        "precision": precision, "samples": samples, "steps": ceil(samples / training.batch_size), "tokens": tokens,
        "pack_tokens": pack, "sharing": shared, "evaluation": evaluation, "fix": None,
        "checkpoint_every_steps": training.checkpoint_every_steps, "asking": asking, "gpu": trainer.gpu,
        "price_per_hour": trainer.price_per_hour, "served": _served(settings, evaluation),
        "available": available_memory(settings),
    }  # fmt: skip
    nothing: dict[str, float | None] = dict.fromkeys(PEAK_FLOPS)
    if shape is None:
        unknowns.append(f"FLOPs, hours, memory, disk: {shape_problem(settings.model)}")
        return Plan(
            **common, parameters=settings.model.num_parameters, trainable=None, flops=None, hours=nothing, memory=None,
            disk=None, evaluation_hours=nothing, unknowns=tuple(unknowns),
        )  # fmt: skip
    lora = settings.model.tune == "lora"
    trainable = (shape.adapters(settings.model.lora.r) if lora else shape.parameters) if trains else 0
    flops = tokens * (1 - shared.saved) * _token_flops(settings, shape, mean) if trains else 0.0
    here = (
        0 if settings.evaluation.backend == "openai" else evaluation.computed + evaluation.suites + evaluation.replies
    )
    work = here * (2 * shape.matrices + 2 * shape.layers * shape.query * length.bench_tokens)
    return Plan(
        **common,
        parameters=shape.parameters,
        trainable=trainable,
        flops=flops,
        hours={gpu: flops / (peak * UTILISATION * devices * shared.busy) / 3600 for gpu, peak in PEAK_FLOPS.items()},
        memory=training_memory(settings, shape, trainable, precision, devices, pack) if trains else None,
        disk=_disk(shape, trainable, lora, tokens // training.epochs) if trains else None,
        evaluation_hours={gpu: work / (peak * UTILISATION * asking) / 3600 for gpu, peak in PEAK_FLOPS.items()},
        unknowns=tuple(unknowns),
    )


def _served(settings: Settings, cost: EvaluationCost) -> float:
    server = settings.evaluation.server
    if server is None or settings.evaluation.backend != "openai":
        return 0.0
    return (cost.sent * server.price.prompt + cost.replies * server.price.reply) / 1_000_000


def _answer_tokens(language: str) -> float:
    """Mean tokens of the shipped safe answers for training, with the one that ends a turn."""
    seeds = [seed for seed in shipped_seeds(language) if seed.split != "bench"]
    answers = [seed.safe_answer or seed.statement_safe_answer for seed in seeds]
    return sum(map(len, answers)) / sum(map(bool, answers)) / CHARACTERS[language] + 1


def _token_flops(settings: Settings, shape: Shape, context: int) -> float:
    matrices = (4 if settings.model.tune == "lora" else 6) * shape.matrices
    attention = 6 * shape.layers * shape.query * context
    kind = settings.model.gradient_checkpointing
    first = full_layers(kind)
    again = 0.0 if kind == "none" else 1.0 if first is None else min(first / shape.layers, 1.0)
    attended = 0.0 if kind == "selective" else attention / 3
    return matrices + attention + again * (2 * shape.matrices + attended)


def _disk(shape: Shape, trainable: int, lora: bool, tokens: int) -> dict[str, float]:
    return {
        "checkpoints": 2 * 12.0 * trainable,  # the last two, each with weights and Adam's two states
        "weights": 4.0 * trainable,
        "exported weights": 4.0 * (shape.parameters + (trainable if lora else 0)),
        "token rows": 4.0 * tokens,
    }
