"""Sequence parallelism: neighbouring ranks share each pack, by DeepSpeed's Ulysses (arXiv 2309.14509, 2506.13996).

Each rank holds a part of the tokens. Around attention the ranks exchange it for a part of the heads of all tokens, so
attention itself is unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from longsafety.errors import ConfigError
from longsafety.model.shape import Shape


def heads_problem(shape: Shape, size: int) -> str | None:
    """Why a model's heads cannot be divided among ``size`` ranks, or ``None``; fewer key-value heads are repeated."""
    if shape.heads % size or (shape.kv_heads % size and size % shape.kv_heads):
        return f"the model's {shape.heads} heads ({shape.kv_heads} of keys and values) cannot be dealt evenly"
    return None


def share_sequences(network: Any, attention: str, size: int) -> None:
    """Wraps the registered ``attention`` in the exchange between groups of ``size`` neighbouring ranks.

    Every rank calls it once the process group exists. Raises ConfigError if the heads cannot be divided.
    """
    from deepspeed.runtime.sequence_parallel.ulysses_sp import UlyssesSPAttentionHF

    try:
        UlyssesSPAttentionHF.register_with_transformers(
            network, attention, sequence_parallel_size=size, micro_batch_size=1, seq_length_is_variable=True
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigError([f"trainer.sequence_parallel = {size}: {error}; set another"]) from error


@contextmanager
def whole_sequences_again() -> Iterator[None]:
    """Restores the single-process attention functions of transformers at the end."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    from longsafety.model.attention import PACKED

    before = {name: ALL_ATTENTION_FUNCTIONS[name] for name in PACKED.values()}
    try:
        yield
    finally:
        for name, function in before.items():
            ALL_ATTENTION_FUNCTIONS[name] = function
