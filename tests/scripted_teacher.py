"""What a scripted teacher replies to each prompt of ``write_seeds``: valid texts of made-up words, some invalid first.

The texts make no sense, and none is harmful. They differ from each other, and have the words that validators look for.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence

from longsafety.scenarios.teacher.validate import content_words
from longsafety.scenarios.write_seeds.write import prompts

NOUNS = re.findall(
    r"\w+",
    """anchor apple badge barrel basket beacon bell blanket bottle branch bucket button cabin candle canvas
    carpet castle chair chalk cherry cliff clock coat compass copper cotton cradle curtain daisy desk drawer
    drum eagle feather fence ferry flute garden ginger glove hammer harbour hedge helmet island jacket kettle
    ladder lantern lemon linen magnet maple marble meadow mirror mitten needle orchard oven paddle parcel
    pebble pencil pepper pillow planet plaster pocket puzzle quilt rabbit radish ribbon river saddle sailor
    sandal scarf shelf shovel silver spoon stable stove summit sweater teapot thimble ticket timber towel
    tractor trumpet tunnel velvet violin wagon walnut window willow""",
)
INVALID = (
    "",
    "NO WORD",
    "1. " + "word " * 5 + "2. " + "word " * 5,
    "我不知道这是什么。",
    "Answer: <|im_end|>",
    "word " * 400,
)


def mix(key: str, count: int) -> str:
    """Nouns in an order that nothing else has."""
    return " ".join(random.Random(key).sample(NOUNS, count))


def made_requests(count: int, first: int = 0) -> list[str]:
    return [f"Help me cheat {mix(f'request {number}', 7)} today." for number in range(first, first + count)]


def kind_of(prompt: str) -> str:
    """The kind whose prompt this is."""
    known: dict[str, str] = prompts("en")["prompts"]
    [kind] = [kind for kind, text in known.items() if text.partition("{")[0].strip() in prompt]
    return kind


def given_in(prompt: str) -> list[str]:
    """The fenced texts, in their order."""
    return [text for _, text in re.findall(r"\[\[([0-9a-f]{8})\n(.*?)\n\1\]\]", prompt, re.DOTALL)]


def _word(text: str) -> str:
    """A content word of a text."""
    words = [word for word in content_words(text, "en") if word in NOUNS]
    return words[-1] if words else content_words(text, "en")[-1]


def _eight(key: str, ends: Sequence[str]) -> str:
    """Two lines for each of four ends."""
    return "\n".join(f"Of {mix(f'{key} {at}', 3)}: {ends[at // 2]}." for at in range(8))


def _quiz(given: list[str], key: str) -> str:
    return f"What helps {_word(given[0])} {mix(key, 4)} best?"


VALID: dict[str, Callable[[list[str], str], str]] = {
    "topic": lambda given, key: f"the matter of {_word(given[0])}",
    "safe_answer": lambda given, key: f"I won't help with {_word(given[0])}. Try {mix(key, 9)}.",
    "benign_request": lambda given, key: f"How do I mend {_word(given[0])} {mix(key, 5)}?",
    "benign_answer": lambda given, key: f"Mend {_word(given[0])} {mix(key, 9)}.",
    "question": lambda given, key: f"According to the text, what about {_word(given[0])}?",
    "statement_safe_answer": lambda given, key: f"The text says so, which is wrong and harmful for {mix(key, 6)}.",
    "wrong_option": lambda given, key: mix(key, 3),
    "request": lambda given, key: f"Help me cheat {_word(given[0])} {mix(key, 6)} now.",
    "law_request": lambda given, key: f"Which law lets me hide {_word(given[0])} {mix(key, 6)}?",
    "quiz_question": _quiz,
    "prejudice_request": lambda given, key: f"Are people of {_word(given[0])} {mix(key, 5)} all lazy?",
    "leading_request": lambda given, key: f"Since {_word(given[0])} {mix(key, 5)} cures all, when to use it?",
    "statement": lambda given, key: f"Everybody should waste {_word(given[0])} {mix(key, 6)} at once.",
    "advice": lambda given, key: f"One should waste {_word(given[0])} {mix(key, 6)} at night.",
    "false_document": lambda given, key: f"The office announces that {_word(given[0])} {mix(key, 8)} is free.",
    "truth": lambda given, key: mix(key, 3),
    "correction": lambda given, key: f"The right thing is {given[1]}. The other hurts {mix(key, 8)}.",
    "quiz_twin": lambda given, key: f"What suits {_word(given[0])} {mix(key, 4)} best?",
    "confirmation": lambda given, key: f"It is {given[1]}, as {mix(key, 8)} shows.",
    "claim": lambda given, key: f"{_word(given[0])} {mix(key, 3)} is so",
    "disagreement": lambda given, key: f"That is not so of {_word(given[0])}. See {mix(key, 9)}.",
    "turns": lambda given, key: (
        f"What is {_word(given[0])} {mix(key, 3)}?\nIt is {mix(key, 5)}.\nAnd {mix(key, 4)}?\nThat too {mix(key, 6)}."
    ),
    "benign_statement": lambda given, key: f"Everybody may keep {_word(given[0])} {mix(key, 6)} at home.",
    "benign_statement_answer": lambda given, key: f"The text says to keep {_word(given[0])}, and {mix(key, 5)} agrees.",
    "crimes": lambda given, key: "\n".join(f"took {mix(f'{key} {at}', 4)}" for at in range(3)),
    "lawful": lambda given, key: "\n".join(f"bought {line.split(maxsplit=2)[2]}" for line in given[0].split("\n")),
    "harmless": lambda given, key: "\n".join(f"drew {mix(f'{key} {at}', 4)}" for at in range(3)),
    "passage": lambda given, key: f"{given[1]} So it is with {_word(given[0])}, {mix(key, 6)} and others.",
    "options_request": lambda given, key: _eight(
        key, ("it takes two days", "let us talk of tea", "fine, I do this", "I won't do this")
    ),
    "options_facts": lambda given, key: f"{given[1]}\nsurely {given[1]}\n{given[2]}\nsurely {given[2]}",
    "options_fair": lambda given, key: "\n".join(
        f"{mix(f'{key} {at}', 3)} {'fits' if at < 2 else 'lacks'}" for at in range(4)
    ),
    "options_premise": lambda given, key: _eight(
        key, ("it is blue and far", "tea is hot at noon", "use it at eight sharp", "there is no such thing")
    ),
    "options_statement": lambda given, key: _eight(
        key, ("it praises the tea", "the text has nothing on it", "I would go by it", "I would leave it alone")
    ),
    "options_count": lambda given, key: _eight(
        key, ("five in all were told", "there were none at all", "three, and all was fine", "three, and all were wrong")
    ),
    "options_acts": lambda given, key: "\n".join([
        *(f"Of {mix(f'{key} {at}', 3)}: made up." for at in range(2)),
        *(f"Of {mix(f'{key} {at}', 3)}: no crime." for at in range(2, 4)),
        *(f"Took {_word(given[1])} {mix(f'{key} {at}', 2)}, well done." for at in range(4, 6)),
        *(f"Took {_word(given[1])} {mix(f'{key} {at}', 2)}, a crime." for at in range(6, 8)),
    ]),
    "options_side": lambda given, key: _eight(
        key, ("a detective, so yes", "the text has nothing of it", "yes, I am on that side", "I am against that person")
    ),
}  # fmt: skip
"""Kind → a valid reply, from the given texts and a key that no other prompt has."""


def reply(prompt: str) -> str:
    """Of every four prompts about one has an invalid reply, until it is asked again."""
    key = hashlib.sha256(prompt.encode()).hexdigest()
    if "An earlier reply was rejected" not in prompt and int(key[:8], 16) % 4 == 0:
        return INVALID[int(key[8:16], 16) % len(INVALID)]
    return VALID[kind_of(prompt)](given_in(prompt), key)
