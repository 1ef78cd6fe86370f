"""Rows of training samples: chats, preference pairs, and prompts for reinforcement learning; and their columns."""

from __future__ import annotations

from typing import Any

from longsafety.samples.recipe import Sample, user_content

Row = dict[str, Any]
ABILITY = "safety"
"""verl's task category of every row."""
_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def turns(sample: Sample, context: str) -> list[tuple[str, str]]:
    """The chat as (user, assistant) turns; the context opens the first."""
    users = [*(user for user, _ in sample.history), sample.question]
    replies = [*(reply for _, reply in sample.history), sample.answer]
    users[0] = user_content(context, users[0], sample.goal)
    return list(zip(users, replies, strict=True))


def turns_row(sample: Sample, context: str, seed: int, number: int) -> Row:
    """LongSafety-17k, which has no system messages: one opens the first prompt."""
    content = [{"prompt": user, "output": reply} for user, reply in turns(sample, context)]
    if sample.system:
        content[0]["prompt"] = f"{sample.system}\n\n{content[0]['prompt']}"
    return {"id": sample.id, "task": sample.task, "content": content}


def messages_row(sample: Sample, context: str, seed: int, number: int) -> Row:
    """A chat as messages of ``role`` and ``content``."""
    return {"messages": _messages(sample, context), **_about(sample)}


def trl_row(sample: Sample, context: str, seed: int, number: int) -> Row:
    """TRL's conversational preference format with an explicit prompt (its docs/source/dataset_formats.md)."""
    *prompt, chosen = _messages(sample, context)
    rejected = {"role": "assistant", "content": sample.rejected}
    return {"prompt": prompt, "chosen": [chosen], "rejected": [rejected], **_about(sample)}


def llama_factory_row(sample: Sample, context: str, seed: int, number: int) -> Row:
    """LLaMA-Factory's preference format of several turns (its data/README.md, "Sharegpt Format")."""
    *prompt, chosen = (
        {"from": _SHAREGPT[message["role"]], "value": message["content"]} for message in _messages(sample, context)
    )
    rejected = {"from": "gpt", "value": sample.rejected}
    return {"conversations": prompt, "chosen": chosen, "rejected": rejected, **_about(sample)}


def verl_row(sample: Sample, context: str, seed: int, number: int) -> Row:
    """verl's row for reinforcement learning (its docs/preparation/prepare_data.rst)."""
    return {
        "data_source": f"longsafety/{sample.task}",
        "prompt": _messages(sample, context)[:-1],
        "ability": ABILITY,
        "reward_model": {"style": "model", "ground_truth": sample.answer},
        "extra_info": {"split": "train", "index": number, **_about(sample), "rejected": sample.rejected},
    }


def _messages(sample: Sample, context: str) -> list[dict[str, str]]:
    opening = [{"role": "system", "content": sample.system}] if sample.system else []
    return opening + [
        {"role": role, "content": text}
        for turn in turns(sample, context)
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]


def _about(sample: Sample) -> Row:
    return {"id": sample.id, "task": sample.task, "kind": sample.kind}


def columns(**types: Any) -> list[Row]:
    """Columns as ``dataset_info.features`` has them: name → type, or what stands in a type's place."""
    return [{"name": name, **({"dtype": kind} if isinstance(kind, str) else kind)} for name, kind in types.items()]


_ABOUT = columns(id="string", task="string", kind="string")
_MESSAGES = {"list": columns(role="string", content="string")}
_TURN = columns(**{"from": "string", "value": "string"})
TURNS = columns(id="string", task="string", content={"list": columns(prompt="string", output="string")})
CHAT = [*columns(messages=_MESSAGES), *_ABOUT]
TRL = [*columns(prompt=_MESSAGES, chosen=_MESSAGES, rejected=_MESSAGES), *_ABOUT]
LLAMA_FACTORY = [
    *columns(conversations={"list": _TURN}, chosen={"struct": _TURN}, rejected={"struct": _TURN}),
    *_ABOUT,
]
VERL = columns(
    data_source="string",
    prompt=_MESSAGES,
    ability="string",
    reward_model={"struct": columns(style="string", ground_truth="string")},
    extra_info={"struct": [*columns(split="string", index="int64"), *_ABOUT, *columns(rejected="string")]},
)
