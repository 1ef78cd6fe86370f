"""What a backend is: it answers trials. Backends that work on tokens only implement two methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np

from longsafety.errors import DataError
from longsafety.evaluation.asking.answer import Answer, answer_from_letters, answer_from_said, answer_from_texts
from longsafety.evaluation.asking.trials import Trial, max_reply_tokens, shown_question
from longsafety.evaluation.scorers import READS_REPLY
from longsafety.samples.encode import ChatEncoder
from longsafety.samples.template import End
from longsafety.samples.thoughts import Parted, part_thoughts
from longsafety.settings import Evaluation
from longsafety.vocabulary import LETTERS

Answered = tuple[Trial, Answer]


class Backend(Protocol):
    """A model, wherever it runs."""

    def answers(
        self, batches: Iterable[Sequence[Trial]], encoder: ChatEncoder, evaluation: Evaluation
    ) -> Iterator[list[Answered]]:
        """Yields every trial with its answer, in any order, each group as soon as it is complete.

        A group is what one pass of the model computed: the journal keeps it whole, so that a run that goes on after a
        kill computes the same passes, to the same bits. ``batches`` are the passes that a local model should make; a
        backend that schedules by itself may ignore their borders.
        """
        ...

    def facts(self) -> dict[str, int | str]:
        """What ``evaluation.json`` records of the answers so far: tokens, precision, device, and who applied the chat
        template where that was not our tokenizer."""
        ...


class Question(NamedTuple):
    """A prompt ``[T]`` (int64) and continuations of it, each of one token or more."""

    prompt: np.ndarray
    continuations: Sequence[np.ndarray]


class TokenBackend(ABC):
    """A backend that is prompted in tokens: 1-D int64 arrays of their ids."""

    @abstractmethod
    def loglikelihoods(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """For each question each continuation's log-likelihood (a sum over its tokens), float64 ``[continuations]``."""

    @abstractmethod
    def replies(
        self, prompts: Sequence[np.ndarray], *, max_new_tokens: int, end_ids: Sequence[int], pad_id: int
    ) -> Iterable[np.ndarray]:
        """Each prompt's greedy reply as token ids, without its end token, in the order of the prompts."""

    @abstractmethod
    def facts(self) -> dict[str, int | str]:
        """As :meth:`Backend.facts`."""

    def answers(
        self, batches: Iterable[Sequence[Trial]], encoder: ChatEncoder, evaluation: Evaluation
    ) -> Iterator[list[Answered]]:
        """Of each batch: all log-likelihoods, from one pass, as one group; then the replies one by one."""
        for batch in batches:
            scored = [trial for trial in batch if trial.scorer not in READS_REPLY]
            if scored:
                yield self._scored(scored, encoder, evaluation)
            for scorer in READS_REPLY:
                trials = [trial for trial in batch if trial.scorer == scorer]
                for answered in self._replied(trials, encoder, evaluation) if trials else ():
                    yield [answered]

    def _scored(self, trials: Sequence[Trial], encoder: ChatEncoder, evaluation: Evaluation) -> list[Answered]:
        parts = [_questions(trial, encoder, evaluation) for trial in trials]
        values = iter(self.loglikelihoods([question for part in parts for question in part]))
        found: list[Answered] = []
        for trial, questions in zip(trials, parts, strict=True):
            mine = list(islice(values, len(questions)))
            if trial.scorer == "letter":
                found.append((trial, answer_from_letters(trial, mine[0])))
            else:
                lengths = [len(ids) for ids in questions[0].continuations]
                found.append((trial, answer_from_texts(trial, mine, lengths, evaluation.wordings)))
        return found

    def _replied(self, trials: Sequence[Trial], encoder: ChatEncoder, evaluation: Evaluation) -> Iterator[Answered]:
        """``trials`` of one scorer."""
        tokenizer = encoder.tokenizer
        replies = self.replies(
            [_prompt(trial, encoder, "reply") for trial in trials],
            max_new_tokens=max_reply_tokens(trials[0].scorer, evaluation, thinks=encoder.template.thinks()),
            end_ids=encoder.template.end_ids,
            pad_id=int(tokenizer.pad_token_id),
        )
        for trial, ids in zip(trials, replies, strict=True):
            # The marks of thoughts may be special tokens, and are needed to part them.
            said = part_thoughts(str(tokenizer.decode(ids)), opened=encoder.template.opens_thought())
            yield trial, answer_from_said(trial, _plain(said, encoder), lambda text: len(encoder.literal_ids(text)))


def _plain(said: Parted, encoder: ChatEncoder) -> Parted:
    thoughts = None if said.thoughts is None else encoder.control.removed(said.thoughts)
    return said._replace(reply=encoder.control.removed(said.reply).strip(), thoughts=thoughts)


def _prompt(trial: Trial, encoder: ChatEncoder, end: End = "options") -> np.ndarray:
    return encoder.prompt_ids(*trial.item.prompt(shown_question(trial)), end=end)


def _questions(trial: Trial, encoder: ChatEncoder, evaluation: Evaluation) -> list[Question]:
    """Letters: one question, a continuation for each letter shown. Likelihoods: a continuation for each wording, role
    by role; ``calibrated`` adds the same after a chat without the question."""
    if trial.order is not None:
        letters = [encoder.reply_ids(letter) for letter in LETTERS[: len(trial.order)]]
        shared = len(letters[0]) - 1  # a space that is a token of its own
        if len({tuple(ids[:-1]) for ids in letters}) > 1 or len({int(ids[-1]) for ids in letters}) < len(letters):
            raise DataError(
                "evaluation.scorers = letter: the tokenizer has no single token for a letter; use likelihood"
            )
        asked = np.concatenate([_prompt(trial, encoder), letters[0][:shared]])
        return [Question(asked, [ids[shared:] for ids in letters])]
    texts = [text for wordings in trial.item.choices for text in wordings[: evaluation.wordings]]
    continuations = [encoder.reply_ids(text) for text in texts]
    questions = [Question(_prompt(trial, encoder), continuations)]
    if trial.scorer == "calibrated":
        bare = encoder.prompt_ids((), "", system=trial.item.system, end="options")
        questions.append(Question(bare, continuations))
    return questions
