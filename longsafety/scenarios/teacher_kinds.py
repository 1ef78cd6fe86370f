"""The two teachers that are asked: a local model, and an OpenAI-compatible server."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from longsafety import settings
from longsafety.errors import ConfigError, DataError
from longsafety.scenarios.replies import Reply
from longsafety.scenarios.teacher import CachedTeacher, Prompt

if TYPE_CHECKING:
    from pathlib import Path

_WINDOW = 8192
"""Of the ``tiny`` model; others bring their own."""


class TransformersTeacher(CachedTeacher):
    """A local model, asked one prompt at a time: greedy at temperature 0, else sampled with a seed of the prompt's."""

    def _prepare(self) -> None:
        _ = self._network

    @cached_property
    def _source(self) -> settings.Model:
        return settings.Model(name="teacher", source=self.model, window=_WINDOW)

    @cached_property
    def _identity(self) -> str:
        """The model's content: a folder may change under its name."""
        from longsafety.model.load import identity

        try:
            return identity(self._source, self.cache)
        except (DataError, ConfigError) as error:
            raise DataError(f"teacher.model = {self.model!r}: cannot be had ({error})") from error

    @cached_property
    def _tokenizer(self) -> Any:
        from longsafety.model.load import load_tokenizer

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

    def _ask(self, prompt: Prompt, temperature: float, seed: int) -> Reply:
        import torch

        tokenizer, network = self._tokenizer, self._network
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt.text}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        ).to(network.device)
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
                pad_token_id=tokenizer.pad_token_id,
            )[0, num_prompt:]
        return Reply(tokenizer.decode(ids, skip_special_tokens=True), num_prompt, len(ids))


class ServerFailure(DataError):
    """A server did not answer; ``why`` says so in a few words, without anything that it or a prompt said."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class OpenAITeacher(CachedTeacher):
    """A server with the chat completions of OpenAI: vLLM, llama.cpp, ``transformers serve``, or a paid one.

    The client asks again ``retries`` times, with growing pauses, when the server cannot be reached, is overloaded or
    fails. Where a server reports no usage, the bytes of prompt and reply are charged instead: more than the tokens.
    """

    def __init__(self, teacher: settings.Teacher, cache: Path) -> None:
        super().__init__(teacher, cache)
        self.concurrency = teacher.concurrency

    def _prepare(self) -> None:
        _ = self._client

    @cached_property
    def _client(self) -> Any:
        from openai import OpenAI

        return OpenAI(
            base_url=self.settings.base_url,
            api_key=os.environ.get(self.settings.api_key_env) or "none",
            max_retries=self.settings.retries,
            timeout=self.settings.timeout_seconds,
        )

    def _ask(self, prompt: Prompt, temperature: float, seed: int) -> Reply:
        import openai

        try:
            completion = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": prompt.text}],
                max_tokens=self.settings.max_reply_tokens,
                temperature=temperature,
                **({"seed": seed} if temperature else {}),
            )
            text = completion.choices[0].message.content or ""
        except openai.OpenAIError as error:
            raise self._failure(error) from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:  # a page of another kind of server
            raise ServerFailure(
                f"{self.section}.base_url = {self.settings.base_url}: what it answers is no chat completion; "
                "give the address of an OpenAI-compatible server, up to /v1",
                "its answer is no chat completion",
            ) from error
        if completion.usage is None:
            return Reply(text, len(prompt.text.encode()), len(text.encode("utf-8", "replace")))
        return Reply(text, completion.usage.prompt_tokens, completion.usage.completion_tokens)

    def _failure(self, error: Exception) -> ServerFailure:
        import openai

        section, key = self.settings, self.section
        where = f"{key}.base_url = {section.base_url}, {key}.model = {self.model}"
        tries = f"{section.retries + 1} tries"
        if isinstance(error, openai.APITimeoutError):
            fix = f"raise {key}.timeout_seconds"
            message = f"{where}: no answer within {section.timeout_seconds} s in {tries}; {fix}"
            return ServerFailure(message, "no answer in time")
        if isinstance(error, openai.APIConnectionError):
            cause = f"{type(error.__cause__).__name__}: {error.__cause__}" if error.__cause__ else str(error)
            message = f"{where}: the server cannot be reached in {tries} ({cause}); start it, or mend the address"
            return ServerFailure(message, "cannot be reached")
        status = getattr(error, "status_code", None)
        fix = "see the server's log"
        if status in (401, 403):
            fix = f"put its key into the environment variable {section.api_key_env} ({key}.api_key_env)"
        elif status in (400, 404, 422):
            fix = f"mend {key}.model to a name that the server knows, or {key}.base_url, which ends with /v1"
        elif status == 429:
            fix = f"lower {key}.concurrency, or raise {key}.retries"
        message = " ".join(str(error).split())[:300]
        return ServerFailure(f"{where}: the server refuses ({message}); {fix}", f"HTTP {status or 'error'}")
