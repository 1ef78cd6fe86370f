"""A teacher that is a local model, run by transformers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from longsafety import settings
from longsafety.chat.cached import CachedTeacher, Prompt
from longsafety.chat.replies import Reply
from longsafety.errors import ConfigError, DataError
from longsafety.samples.control import ControlTokens
from longsafety.samples.template import ChatTemplate

_WINDOW = 8192
"""The window of the ``tiny`` model; other models have their own."""


class TransformersTeacher(CachedTeacher):
    """A local model, one prompt at a time: greedy at temperature 0, else sampled with a seed of the prompt."""

    def _prepare(self) -> None:
        _ = self._network

    @cached_property
    def _source(self) -> settings.Model:
        return settings.Model(name="teacher", source=self.model, window=_WINDOW)

    @cached_property
    def _identity(self) -> str:
        """The model's content: a folder may change under its name."""
        from longsafety.model.source import identity

        try:
            return identity(self._source, self.cache)
        except (DataError, ConfigError) as error:
            raise DataError(f"teacher.model = {self.model!r}: cannot be had ({error})") from error

    @cached_property
    def _tokenizer(self) -> Any:
        from longsafety.model.tokenizer import load_tokenizer

        return load_tokenizer(self._source, self.cache)

    @cached_property
    def _network(self) -> Any:
        import torch

        from longsafety.model.load import load_model

        try:
            network: Any = load_model(self._source, self.cache, seed=0)
            _ = self._tokenizer
        except (DataError, ConfigError) as error:
            raise DataError(f"teacher.model = {self.model!r}: cannot be used ({error})") from error
        return network.to("cuda", torch.bfloat16) if torch.cuda.is_available() else network

    @cached_property
    def _template(self) -> ChatTemplate:
        return ChatTemplate(self._tokenizer, ControlTokens(self._tokenizer))

    def _ends(self, network: Any) -> list[int]:
        """What ends a reply: the model's own end tokens, the tokenizer's, and what its template ends turns with."""
        own = network.generation_config.eos_token_id
        ids = [*(own if isinstance(own, list) else [own]), *self._template.end_ids]
        return list(dict.fromkeys(int(token) for token in ids if token is not None))

    def _ask(self, prompt: Prompt, temperature: float, seed: int) -> Reply:
        import torch

        tokenizer, network = self._tokenizer, self._network
        asked = [{"role": "user", "content": self._template.control.broken(prompt.text)}]
        text = self._template.render(asked, generate=True) + self._template.header
        chat = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(network.device)
        num_prompt = chat["input_ids"].shape[1]
        window = getattr(network.config, "max_position_embeddings", None)
        if window is not None and num_prompt + self.settings.max_reply_tokens > window:
            raise DataError(
                f"teacher.model = {self.model!r}: a prompt ({prompt.kind}) of {num_prompt} tokens and a reply of "
                f"{self.settings.max_reply_tokens} pass its window of {window}; take a model with a longer one, "
                "or lower teacher.max_reply_tokens"
            )
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        neutral = {} if temperature else {"temperature": None, "top_p": None, "top_k": None}
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(seed)
            ids = network.generate(
                **chat,
                **sampling,
                **neutral,
                max_new_tokens=self.settings.max_reply_tokens,
                eos_token_id=self._ends(network),
                pad_token_id=tokenizer.pad_token_id,
            )[0, num_prompt:]
        return Reply(tokenizer.decode(ids, skip_special_tokens=True), num_prompt, len(ids))
