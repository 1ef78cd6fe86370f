"""Asks a Hugging Face causal language model: log-likelihoods of continuations and of the next token.

A prompt that begins like the one before it reuses that one's key-value cache, so an item's twins and its other
question cost only what differs; all continuations of a prompt run in one pass, none seeing the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

_CHUNK = 2048
"""Tokens prefilled at a time."""


class TransformersBackend:
    """One network on one device."""

    def __init__(self, network: Any, *, precision: str, accelerator: str = "auto") -> None:
        gpu = accelerator != "cpu" and torch.cuda.is_available()
        self.device = torch.device("cuda" if gpu else "cpu")
        dtype = torch.bfloat16 if precision == "bf16-true" else torch.float32
        self.network = network.to(self.device, dtype).eval()
        self.autocast = precision == "bf16-mixed"
        self._cache = DynamicCache(config=network.config)
        self._cached: np.ndarray = np.empty(0, dtype=np.int64)
        self._next: torch.Tensor | None = None
        self.prefilled_tokens = 0
        self.reused_tokens = 0

    @torch.inference_mode()
    def next_token(self, prompt: np.ndarray) -> torch.Tensor:
        """Log-probabilities ``[vocabulary]`` (float32) of the token after the prompt."""
        return torch.log_softmax(self._prefill(prompt), dim=-1)

    @torch.inference_mode()
    def continuations(self, prompt: np.ndarray, continuations: Sequence[np.ndarray]) -> list[float]:
        """Each continuation's log-likelihood (a sum over its tokens) after the prompt."""
        first = torch.log_softmax(self._prefill(prompt), dim=-1)
        heads = [continuation[:-1] for continuation in continuations]
        sums = [float(first[int(continuation[0])]) for continuation in continuations]
        lengths = [len(head) for head in heads]
        if not sum(lengths):
            return sums
        logits = self._side_by_side(len(prompt), heads)
        offset = 0
        for index, (continuation, length) in enumerate(zip(continuations, lengths, strict=True)):
            rows = torch.log_softmax(logits[offset : offset + length], dim=-1)
            targets = torch.from_numpy(continuation[1:].copy()).to(self.device)
            sums[index] += float(rows.gather(1, targets[:, None]).sum())
            offset += length
        return sums

    def _side_by_side(self, prompt_length: int, heads: Sequence[np.ndarray]) -> torch.Tensor:
        """Logits ``[sum of lengths, vocabulary]`` of several suffixes of the cached prompt, blind to each other."""
        segment = torch.from_numpy(np.repeat(np.arange(len(heads)), [len(head) for head in heads])).to(self.device)
        positions = torch.from_numpy(np.concatenate([np.arange(len(head)) for head in heads])).to(self.device)
        own = (segment[:, None] == segment[None, :]) & (positions[:, None] >= positions[None, :])
        visible = torch.cat([torch.ones(len(own), prompt_length, dtype=torch.bool, device=self.device), own], dim=1)
        mask = torch.zeros(visible.shape, dtype=self.network.dtype, device=self.device)
        mask.masked_fill_(~visible, torch.finfo(mask.dtype).min)
        logits = self._forward(np.concatenate(heads), prompt_length + positions, mask=mask[None, None])
        self._keep(prompt_length)
        return logits

    def _keep(self, num_tokens: int) -> None:
        """Cuts the cache to its first tokens; transformers' ``crop`` takes how many to remove, negated."""
        surplus = self._cache.get_seq_length() - num_tokens
        if surplus:
            self._cache.crop(-surplus)

    def _prefill(self, prompt: np.ndarray) -> torch.Tensor:
        """Logits ``[vocabulary]`` after the prompt, whose cache is left in place."""
        shared = min(len(prompt), len(self._cached))
        different = np.flatnonzero(prompt[:shared] != self._cached[:shared])
        shared = int(different[0]) if len(different) else shared
        if shared == len(prompt) == len(self._cached) and self._next is not None:
            return self._next
        shared = min(shared, len(prompt) - 1)
        if shared:
            self._keep(shared)
        else:
            self._cache = DynamicCache(config=self.network.config)
        self.reused_tokens += shared
        self.prefilled_tokens += len(prompt) - shared
        for start in range(shared, len(prompt), _CHUNK):
            stop = min(start + _CHUNK, len(prompt))
            positions = torch.arange(start, stop, device=self.device)
            last = self._forward(prompt[start:stop], positions, keep=1)
        self._cached, self._next = prompt.copy(), last[-1]
        return self._next

    def _forward(
        self, ids: np.ndarray, positions: torch.Tensor, *, mask: torch.Tensor | None = None, keep: int = 0
    ) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            output = self.network(
                input_ids=torch.from_numpy(np.ascontiguousarray(ids))[None].to(self.device),
                position_ids=positions[None],
                attention_mask=mask,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=keep,
            )
        return output.logits[0].float()  # type: ignore[no-any-return]
