"""Settings of the training: the mix, the recipe, the hardware."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from longsafety.settings.section import FileOrName, Fraction, PositiveInt, Section


class Source(Section):
    """One part of a data mix."""

    kind: Literal[
        "longsafety",
        "longsafety_short",
        "benign_twins",
        "benign_short",
        "short_safety",
        "long_align",
        "oracle",
        "chats",
    ]
    path: FileOrName = None
    """For ``chats``: a file, folder or hub dataset in a public schema of training chats."""
    format: str = "auto"
    """Its schema; ``auto`` recognises it by its columns."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the budget."""


class DataMix(Section):
    """What an arm is trained on. No sources: the model is not trained."""

    name: str
    sources: dict[str, Source] = {}
    budget: PositiveInt = 3000
    """Supervised tokens (those of the answers) in an epoch of every trained arm, to the nearest sample; or samples."""
    budget_unit: Literal["samples", "tokens"] = "tokens"
    seed_offset: Annotated[int, Field(ge=0)] = 0
    """Added to ``seed`` where the arm is trained: a control that trains the same mix under another seed."""
    epoch_factor: PositiveInt = 1
    """``training.epochs`` is this many times as large for the arm: a control that must learn its samples by heart."""


class Further(Section):
    """More training of a trained arm, on other data: how much of what it learned does it keep?"""

    budget: Annotated[int, Field(ge=0)] = 0
    """Supervised tokens in an epoch; 0: none. An untrained arm stays untrained."""
    sources: dict[str, Source] = {"long_align": Source(kind="long_align", share=1.0)}
    """As in ``data_mix.sources``: by default benign questions on long contexts."""


class Training(Section):
    """The optimisation recipe."""

    epochs: PositiveInt = 1
    batch_size: PositiveInt = 8
    """Samples in an optimiser step, over all devices."""
    micro_batch_size: PositiveInt = 4
    """Samples in a forward pass on a device (``packed``: see ``pack_tokens``)."""
    packing: Literal["none", "length_sorted", "packed"] = "packed"
    """``none``: padded batches; ``length_sorted``: padded batches of samples of similar length (LongAlign), in random
    order; ``packed``: chats end to end without padding, none attending to another. ``none`` and ``packed`` make the
    same optimiser steps."""
    order: Literal["random", "rising"] = "random"
    """``rising``: shorter samples before longer ones in every epoch, those of one length in random order."""
    pack_tokens: PositiveInt | None = None
    """Maximum tokens of a pack; ``None``: ``micro_batch_size`` samples of the training length, and at least one and a
    half where samples share prefixes, so that an item and its twin fit."""
    share_prefixes: bool = True
    """With ``packed``: a prefix that samples share is computed once, forward and backward; samples with a common
    context are kept in one optimiser step for this. The gradients are the same."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """``adamw_8bit``: torchao's, with states of one byte each. With ``bf16-true`` it rounds stochastically; in
    ``adamw``, updates smaller than half a bfloat16 ulp are rounded away. Not with DeepSpeed."""
    lr_peak: Annotated[float, Field(gt=0)] = 2e-5
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = [0.9, 0.95]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_ratio: Fraction = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    loss_reduction: Literal["sample", "token", "sqrt"] = "sample"
    """``sample``: each sample has the same weight (LongAlign); ``token``: each answer token has the same weight;
    ``sqrt``: a sample's weight is the square root of its number of answer tokens."""
    thoughts: Literal["mask", "keep"] = "mask"
    """Thoughts before the answers of chats (``<think>…</think>``): read and not learned, or learned too. Empty ones are
    never learned, and those of earlier turns are left out."""
    over_length: Literal["error", "drop", "trim_context"] = "error"
    """What to do with a sample longer than the training length: raise an error that names it, drop it (counted), or
    shorten its context. Questions, needles and answers are never cut."""
    checkpoint_every_steps: PositiveInt = 50
    curve_every_steps: PositiveInt | None = None
    """Optimiser steps between evaluations on a part of the benchmark, with the headline's scorer: the safety curve.
    In a sweep over lengths each length then has its own training, because each has its own benchmark."""
    curve_items: PositiveInt = 40
    """Items of that part, from all tasks in turn, each with its twins."""
    keep: Literal["last", "best"] = "last"
    """Which weights are kept: those of the last step, or those with the curve's best mean of safe response and
    compliance. Selecting on benchmark items biases the reported scores upward."""


class Zero(Section):
    """DeepSpeed ZeRO."""

    stage: Literal[1, 2, 3] = 3
    offload_optimizer: bool = False
    offload_parameters: bool = False


class Trainer(Section):
    """The hardware: what Lightning's Trainer runs on."""

    name: str
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: PositiveInt | Literal["auto"] = 1
    num_nodes: PositiveInt = 1
    strategy: Literal["auto", "ddp", "deepspeed"] = "auto"
    zero: Zero = Zero()
    sequence_parallel: PositiveInt = 1
    """Devices that share each pack, with a part of its tokens each (DeepSpeed's Ulysses), where one device cannot
    hold it."""
    offload_activations: bool = False
    """Keeps the activations of the forward pass in CPU memory."""
    gpu: Literal["A100-80G", "H100-80G", "H200-141G"] = "A100-80G"
    """The GPU that the plan's estimates assume."""
    price_per_hour: Annotated[float, Field(ge=0)] = 0.0
    """What an hour of one such GPU costs, in any currency; ``stages=[plan]`` estimates the cost of a sweep."""
    num_threads: PositiveInt | None = None
    """CPU threads; ``None``: torch's choice."""
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true"] = "auto"
    """``auto``: bfloat16 where the processor computes it natively, else float32; the choice is recorded."""
    assumed: list[str] = []
    """Keys whose values are given neither by the paper nor by the hardware."""
