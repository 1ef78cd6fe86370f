"""Runs a Hugging Face causal language model: log-likelihoods of continuations, and replies.

Shared prefixes of questions (an item's context, its twins' contexts up to where they differ, all orders of its options,
all wordings of an option) are computed once, in one pass over the trie of their tokens. The output head runs only at
the positions whose log-probabilities are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from longsafety.data.trie import Trie
from longsafety.evaluation.asking.backend import Question, TokenBackend
from longsafety.model.attention import PACKED
from longsafety.model.device import device_name
from longsafety.model.kernels import packed_attention, use_flash
from longsafety.model.last_layer import read_rows
from longsafety.model.loss import training_problem

_MIN_SHARED = 16
"""Minimum tokens of a shared prefix: each node of the trie costs a call of attention in every layer."""
_LOGITS = 1 << 26
"""Maximum logits in memory at a time."""
_FEED_FORWARD = 8192
"""Tokens per call of a layer's feed-forward part, whose states are several times wider than all others."""


class TransformersBackend(TokenBackend):
    """One network on one device. It is moved there and cast, unless ``in_place``: then it is used as it is."""

    def __init__(self, network: Any, *, precision: str, accelerator: str = "auto", in_place: bool = False) -> None:
        gpu = accelerator != "cpu" and torch.cuda.is_available()
        self.device = network.device if in_place else torch.device("cuda" if gpu else "cpu")
        dtype = torch.bfloat16 if precision == "bf16-true" else torch.float32
        self.network = (network if in_place else network.to(self.device, dtype)).eval()
        self.causal = network.get_base_model() if hasattr(network, "get_base_model") else network
        self.precision, self.accelerator = precision, accelerator
        self.autocast = precision == "bf16-mixed"
        self.shares = training_problem(self.causal, "packed") is None
        half = self.autocast or next(self.causal.parameters()).dtype in (torch.bfloat16, torch.float16)
        self.choice = packed_attention(gpu=self.device.type == "cuda", half=half)
        use_flash(self.choice)
        self._plain = self.causal.config._attn_implementation
        self._cache = DynamicCache(config=self.causal.config)
        self._cached: np.ndarray = np.empty(0, dtype=np.int64)
        self.prefilled_tokens = 0
        self.reused_tokens = 0

    def facts(self) -> dict[str, int | str]:
        return {
            "prefilled_tokens": self.prefilled_tokens,
            "reused_tokens": self.reused_tokens,
            "processes": 1,
            "precision": self.precision,
            "device": device_name(self.accelerator),
            "attention": f"{self.choice.name} ({self.choice.reason})",
        }

    @torch.no_grad()
    def loglikelihoods(self, questions: Sequence[Question]) -> list[np.ndarray]:
        rows = [np.concatenate([q.prompt, ids[:-1]]) for q in questions for ids in q.continuations]
        starts = [len(q.prompt) - 1 for q in questions for _ in q.continuations]
        targets = [ids for q in questions for ids in q.continuations]
        values = self._shared(rows, starts, targets) if self.shares else self._apart(rows, starts, targets)
        ends = np.cumsum([0, *(len(ids) for ids in targets)])
        sums = np.array([values[start:stop].sum() for start, stop in pairwise(ends)])
        return np.split(sums, np.cumsum([len(q.continuations) for q in questions])[:-1])

    def replies(
        self, prompts: Sequence[np.ndarray], *, max_new_tokens: int, end_ids: Sequence[int], pad_id: int
    ) -> Iterator[np.ndarray]:
        """One after the other, as they are consumed."""
        for prompt in prompts:
            yield self._reply(prompt, max_new_tokens, end_ids, pad_id)

    @torch.no_grad()
    def _reply(self, prompt: np.ndarray, max_new_tokens: int, end_ids: Sequence[int], pad_id: int) -> np.ndarray:
        """Reuses the cache of the last prompt for the prefix that both share."""
        self._attend("sdpa" if self._plain in PACKED.values() else self._plain)
        size = min(len(prompt) - 1, len(self._cached))
        differ = np.flatnonzero(prompt[:size] != self._cached[:size])
        shared = int(differ[0]) if len(differ) else size
        surplus = self._cache.get_seq_length() - shared
        if not shared:
            self._cache = DynamicCache(config=self.causal.config)
        elif surplus:
            self._cache.crop(-surplus)
        self._count(len(prompt) - shared, shared)
        with self._forward():
            found = self.network.generate(
                input_ids=torch.from_numpy(prompt)[None].to(self.device),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.int64, device=self.device),
                past_key_values=self._cache,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=list(end_ids),
                pad_token_id=pad_id,
            )
        self._cached = prompt.copy()
        ids: np.ndarray = found[0, len(prompt) :].cpu().numpy()
        return ids[:-1] if len(ids) and int(ids[-1]) in end_ids else ids

    def _shared(self, rows: Sequence[np.ndarray], starts: Sequence[int], targets: Sequence[np.ndarray]) -> np.ndarray:
        """Log-probabilities of all targets, concatenated; row ``r`` has ``targets[r]`` from position ``starts[r]``."""
        trie = Trie.of(rows, min_shared=_MIN_SHARED)
        self._count(trie.num_tokens, sum(map(len, rows)) - trie.num_tokens)
        places = np.concatenate([trie.places(row)[start:] for row, start in enumerate(starts)])
        distinct, which = np.unique(places, return_inverse=True)
        read = torch.from_numpy(distinct).to(self.device)
        self._attend(PACKED[self.choice.name])
        with self._forward():
            hidden = self.causal.base_model(
                input_ids=torch.from_numpy(trie.ids.astype(np.int64))[None].to(self.device),
                position_ids=torch.from_numpy(trie.positions)[None].to(self.device),
                nodes=trie.nodes,
                use_cache=False,
                **read_rows(self.causal, distinct, trie.nodes, trie.num_tokens, self.device),
            ).last_hidden_state[0, read]
            return self._read(hidden, which, np.concatenate(targets))

    def _read(self, hidden: torch.Tensor, which: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Log-probabilities ``[N]`` of ``tokens [N]`` after the states ``hidden[which]``, in blocks of states."""
        head = self.causal.get_output_embeddings()
        values = np.empty(len(tokens))
        block = max(1, _LOGITS // self.causal.config.get_text_config().vocab_size)  # a sharded weight has no shape
        for start in range(0, len(hidden), block):
            logits = head(hidden[start : start + block]).float()
            here = np.flatnonzero((which >= start) & (which < start + block))
            at = torch.from_numpy(which[here] - start).to(self.device)
            target = torch.from_numpy(tokens[here]).to(self.device)
            exact = _exact(head, hidden[start + at], target)
            logit = logits[at, target] if exact is None else exact
            values[here] = (logit - logits.logsumexp(dim=-1)[at]).cpu().numpy()
        return values

    def _apart(self, rows: Sequence[np.ndarray], starts: Sequence[int], targets: Sequence[np.ndarray]) -> np.ndarray:
        """The same, row by row, for networks that cannot share prefixes (sliding windows, logits changed after the
        head)."""
        parts = []
        for row, start, tokens in zip(rows, starts, targets, strict=True):
            self._count(len(row), 0)
            with self._forward():
                logits = self.network(
                    input_ids=torch.from_numpy(row)[None].to(self.device),
                    use_cache=False,
                    logits_to_keep=len(row) - start,
                ).logits[0]
            logprobs = torch.log_softmax(logits.float(), dim=-1)
            parts.append(logprobs.gather(1, torch.from_numpy(tokens)[:, None].to(self.device))[:, 0].cpu().numpy())
        return np.concatenate(parts).astype(np.float64)

    @contextmanager
    def _forward(self) -> Iterator[None]:
        """Sets the chosen precision, and runs the feed-forward parts in chunks of tokens."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast), _in_chunks(self.causal):
            yield

    def _attend(self, name: str) -> None:
        if self.causal.config._attn_implementation != name:
            self.causal.set_attn_implementation(name)

    def _count(self, prefilled: int, reused: int) -> None:
        self.prefilled_tokens += prefilled
        self.reused_tokens += reused


def _exact(head: Any, hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor | None:
    """The logits of ``tokens [N]`` after ``hidden [N, H]`` in float32; ``None`` where the head is no plain matrix.

    bfloat16 has steps of 1/8 at the size of logits, so letters would tie, and their position would decide.
    """
    if type(head) is not torch.nn.Linear or head.weight.ndim != 2:
        return None
    exact = (hidden.float() * head.weight[tokens].float()).sum(dim=-1)
    return exact if head.bias is None else exact + head.bias[tokens].float()


@contextmanager
def _in_chunks(causal: Any) -> Iterator[None]:
    """Feed-forward parts that work token by token get at most ``_FEED_FORWARD`` tokens per call, without gradients.
    Hooks see all tokens, and the network is restored at the end."""
    layers = getattr(causal.base_model, "layers", None) or []
    parts: list[Any] = [layer.mlp for layer in layers if hasattr(layer, "mlp") and _by_row(layer.mlp)]
    for part in parts:
        part.forward = _chunked(part.forward)
    try:
        yield
    finally:
        for part in parts:
            del part.forward  # restores the class's method


def _by_row(part: torch.nn.Module) -> bool:
    """Whether each token's output depends on that token alone: true where all weights belong to plain linear layers.
    Not for experts, which may return more than their output, nor for shards, which every chunk would gather again."""
    if "forward" in vars(part) or hasattr(part, "experts") or any(hasattr(one, "ds_id") for one in part.parameters()):
        return False
    holders = (one for one in part.modules() if next(one.parameters(recurse=False), None) is not None)
    return all(isinstance(one, torch.nn.Linear) for one in holders)


def _chunked(forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """``[B, T, H]`` → ``[B, T, H]``."""

    def run(states: torch.Tensor) -> torch.Tensor:
        if states.shape[1] <= _FEED_FORWARD:
            return forward(states)
        whole: torch.Tensor | None = None
        for start in range(0, states.shape[1], _FEED_FORWARD):
            part = forward(states[:, start : start + _FEED_FORWARD])
            whole = part.new_empty(*states.shape[:2], part.shape[2]) if whole is None else whole
            whole[:, start : start + _FEED_FORWARD] = part
        assert whole is not None
        return whole

    return run
