"""Thoughts and replies, parted in every notation, with texts of our own."""

from __future__ import annotations

import pytest

from longsafety.samples.thoughts import Parted, closing_of, part_thoughts

PARTED = {
    "no thought": ("B", ("B", None)),
    "a tag": ("<think>Is it A? No.</think>B", ("B", "Is it A? No.")),
    "white space": ("\n <think>\nA?\n</think>\n\n B \n", ("B", "A?")),
    "an empty thought": ("<think>\n\n</think>\n\nB", ("B", "")),
    "upper case": ("<THINK>A?</THINK>B", ("B", "A?")),
    "mixed case": ("<Thought>A?</Thought>\n<Output>B</Output>", ("B", "A?")),
    "another closing name": ("<thinking>A?</think>B", ("B", "A?")),
    "reasoning": ("<reasoning>A?</reasoning>\n<answer>B</answer>", ("B", "A?")),
    "attributes": ('<think mode="deep">A?</think>B', ("B", "A?")),
    "brackets": ("[THINK]A?[/THINK]B", ("B", "A?")),
    "brackets, lower case": ("[think]A?[/think]B", ("B", "A?")),
    "triangles": ("◁think▷A?◁/think▷B", ("B", "A?")),
    "full-width brackets": ("＜think＞A?＜/think＞B", ("B", "A?")),
    "escaped": ("&lt;think&gt;A?&lt;/think&gt;B", ("B", "A?")),
    "a colon in the name": ("<seed:think>A?</seed:think>B", ("B", "A?")),
    "thought tokens": (
        "<|begin_of_thought|>A?<|end_of_thought|>\n\n<|begin_of_solution|>B<|end_of_solution|>",
        ("B", "A?"),
    ),
    "thinking tokens": (
        "<|START_THINKING|>A?<|END_THINKING|><|START_RESPONSE|>B<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        ("B", "A?"),
    ),
    "Apertus": ("<|inner_prefix|>A?<|inner_suffix|>B", ("B", "A?")),
    "a tag that closes itself": ("<think />\n\nB", ("B", "")),
    "such a tag that is spoken of": ("Write `<think/>`.", ("Write `<think/>`.", None)),
    "turns of Gemma": (
        "<start_of_turn>thinking\nA?<end_of_turn>\n<start_of_turn>model\nB<end_of_turn>\n<start_of_turn>user\nC?"
        "<end_of_turn>\n<start_of_turn>model\nD",
        ("B", "A?"),
    ),
    "a turn of Gemma": ("<start_of_turn>model\nthinking of it: B<end_of_turn>", ("thinking of it: B", None)),
    "Gemma's final channel": ("<|channel>thought\nA?<channel|><|channel>final\nB<channel|>", ("B", "A?")),
    "DeepSeek's turn": ("<｜Assistant｜>B", ("B", None)),
    "a closing tag alone": ("Perhaps A.\n</think>\nB", ("B", "Perhaps A.")),
    "a closing bracket alone": ("Perhaps A.[/THINK]B", ("B", "Perhaps A.")),
    "a closing tag too many": ("<think>A?</think>B</think>", ("B", "A?")),
    "two thoughts": ("<think>A?</think>Well. <think>C?</think>B", ("Well. B", "A?\n\nC?")),
    "two thoughts, one with its closing tag alone": ("A?</think><think>C?</think>B", ("B", "A?\n\nC?")),
    "a thought inside another": ("<think>A? <think>C?</think> no</think>B", ("B", "A? <think>C?</think> no")),
    "opened twice": ("<think>\n<think>\nA?</think>B", ("B", "<think>\nA?")),
    "another tag inside": ("<think>A? </reasoning> no</think>B", ("B", "A? </reasoning> no")),
    "text before": ("So. <think>A?</think>B", ("So. B", "A?")),
    "an answer that ends an open thought": ("<think>A? No.\n<answer>B</answer>", ("B", "A? No.")),
    "harmony": (
        "<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>",
        ("B", "A?"),
    ),
    "harmony, three channels": (
        "<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>commentary to=functions.x "
        "<|constrain|>json<|message|>{}<|call|><|start|>assistant<|channel|>final<|message|>B",
        ("B", "A?\n\n{}"),
    ),
    "harmony, final alone": ("<|channel|>final<|message|>B<|return|>", ("B", None)),
    "harmony, opened by the prompt": (
        "analysis<|message|>A?<|end|><|start|>assistant<|channel|>final<|message|>B",
        ("B", "A?"),
    ),
    "harmony without its marks": ("analysisWe ask: A?assistantfinalB", ("B", "We ask: A?")),
    "harmony without its marks, small letters": ("analysisit asks: A?assistantfinalB", ("B", "it asks: A?")),
    "harmony without its marks, Chinese": ("analysis选甲？assistantfinal乙", ("乙", "选甲？")),
    "harmony without its marks, a list": ("analysis1) A?assistantcommentaryC?assistantfinalB", ("B", "1) A?\n\nC?")),
    "harmony without its marks, emphasis": ("analysis**A**?assistantfinalB", ("B", "**A**?")),
    "harmony with spaces for marks": ("analysis Perhaps A. assistant final B", ("B", "Perhaps A.")),
    "harmony with newlines for marks": ("analysis\nPerhaps A.\nassistantfinal\nB", ("B", "Perhaps A.")),
    "harmony without its marks, final alone": ("assistantfinalB", ("B", None)),
    "an assistant's final exam": (
        "analysis of the assistant final exam: B",
        ("analysis of the assistant final exam: B", None),
    ),
    "an assistant's finalists": ("assistant finalists: B", ("assistant finalists: B", None)),
    "turns of s1": ("<|im_start|>think\nA?<|im_end|>\n<|im_start|>answer\nB<|im_end|>", ("B", "A?")),
    "turns of s1 without ends": ("<|im_start|>assistant\n<|im_start|>think\nA?\n<|im_start|>answer\nB", ("B", "A?")),
    "a thought in the next turn": ("B<|im_end|>\n<|im_start|>think\nA?", ("B", None)),
    "unused tokens": ("<unused94>thought\nA?<unused95>B", ("B", "A?")),
    "Ollama's lines": ("Thinking...\nA?\n...done thinking.\n\nB", ("B", "A?")),
    "Ollama's line, a reply": ("Thinking...\nB", ("Thinking...\nB", None)),
    "an analysis": ("<analysis>A?</analysis>\n<answer>B</answer>", ("B", "A?")),
    "a heading in brackets": ("[Analysis]\nB", ("[Analysis]\nB", None)),
    "Chinese tags": ("<思考>A?</思考>B", ("B", "A?")),
    "Open WebUI's block": ('<details type="reasoning" done="true" duration="2">\n> A?\n</details>\nB', ("B", "> A?")),
    "another block of details": ("<details open>\nA\n</details>\nB", ("<details open>\nA\n</details>\nB", None)),
    "a tag in a block": ("So:\n```html\n<reason>A\n```\nB", ("So:\n```html\n<reason>A\n```\nB", None)),
    "two tags in a block": ("~~~\nx <think>A</think>\n~~~\nB", ("~~~\nx <think>A</think>\n~~~\nB", None)),
    "a closing tag in a block": ("```\nx = '</think>'\n```\nB", ("```\nx = '</think>'\n```\nB", None)),
    "tags in a block that is cut": ("So:\n```html\n<cot>A</cot>B", ("So:\n```html\n<cot>A</cot>B", None)),
    "a block after a thought": ("<think>A?</think>```\n<cot>\n```\nB", ("```\n<cot>\n```\nB", "A?")),
    "a block that ends a thought": ("<think>A?\n```\nC\n```</think>B", ("B", "A?\n```\nC\n```")),
    "a thought after a block": ("```\nC\n```\n<think>A?</think>B", ("```\nC\n```\nB", "A?")),
    "a block in a thought": ("<think>A:\n```\nC\n```\n?</think>B", ("B", "A:\n```\nC\n```\n?")),
    "an open block in a thought": ("<think>A?\n```\nC\n</think>B <cot>D?</cot>", ("B", "A?\n```\nC\n\nD?")),
    "an open block in a thought without its tag": (
        "A?\n```py\nC\n</think>B\n```py\nD\n```",
        ("B\n```py\nD\n```", "A?\n```py\nC"),
    ),
    "all in a block": ("```\n<think>A?</think>\nB\n```", ("```\n\nB\n```", "A?")),
    "Granite's sentences": ("Here is my thought process:\nA?\n\nHere is my response:\nB", ("B", "A?")),
    "headings": ("## Thinking\n\nA?\n\n## Final Response\n\nB", ("B", "A?")),
    "a tag that is only named": ("The tag `<think>` opens it: B", ("The tag `<think>` opens it: B", None)),
    "analysis, the word": ("analysis shows B", ("analysis shows B", None)),
    "an end of turn": ("<think>A?</think>B<|im_end|>", ("B", "A?")),
    "another turn after it": ("B<|im_end|>\n<|im_start|>user\nAnd C?", ("B", None)),
    "a sentence end": ("B</s>", ("B", None)),
    "struck out": ("<s>A</s> and then B", ("A</s> and then B", None)),
    "marks of an opening": ("<|im_start|>assistant\nB<｜end▁of▁sentence｜>", ("B", None)),
}

CUT = {
    "a tag": "<think>The answer is A. No, wait",
    "a bracket": "[THINK]The answer is A",
    "a second thought": "<think>A?</think>Well. <think>or",
    "analysis": "<|channel|>analysis<|message|>The answer is A",
    "analysis that ended": "<|channel|>analysis<|message|>The answer is A.<|end|>",
    "a channel without its message": "<|channel|>analysis",
    "analysis without its marks": "analysisThe answer is A",
    "a turn of s1": "<|im_start|>think\nThe answer is A",
    "an unused token": "<unused94>thought\nThe answer is A",
    "analysis in its tag": "<analysis>The answer is A",
    "Open WebUI's block": '<details type="reasoning" done="false">\nThe answer is A',
    "analysis without its marks, then commentary": "analysis it asksassistantcommentaryThe answer is A",
    "a thought token": "<|begin_of_thought|>The answer is A",
    "Granite's sentence": "Here is my thought process:\nThe answer is A",
    "an answer that is weighed": "<think>Should I say <answer>A</answer>? Or",
}


@pytest.mark.parametrize("name", PARTED)
def test_thoughts_are_parted_from_the_reply(name: str) -> None:
    text, (reply, thoughts) = PARTED[name]
    assert part_thoughts(text) == Parted(reply, thoughts, cut=False)


@pytest.mark.parametrize("name", CUT)
def test_a_thought_that_is_cut_off_is_no_reply(name: str) -> None:
    said = part_thoughts(CUT[name])
    assert said.cut
    assert said.reply == ""
    assert said.thoughts is not None


def test_a_thought_that_the_prompt_has_opened() -> None:
    assert part_thoughts("A?\n</think>B", opened=True) == Parted("B", "A?", cut=False)
    assert part_thoughts("<think>A?</think>B", opened=True) == Parted("B", "<think>A?", cut=False)
    assert part_thoughts("The answer is A", opened=True) == Parted("", "The answer is A", cut=True)


@pytest.mark.parametrize("opening", ["<think>", "[THINK]", "<unused94>thought", '<details type="reasoning">'])
def test_a_prompts_thought_is_closed_in_its_own_notation(opening: str) -> None:
    closing = closing_of(f"Hello.{opening}\n")
    assert closing is not None
    assert part_thoughts(f"{opening}\n{closing}B") == Parted("B", "", cut=False)


def test_a_servers_reasoning_is_a_thought_and_none_where_it_is_empty() -> None:
    assert part_thoughts("B", reasoning="<think>A?") == Parted("B", "A?", cut=False)
    assert part_thoughts("<think>C?</think>B", reasoning="A?") == Parted("B", "A?\n\nC?", cut=False)
    assert part_thoughts(None, reasoning="A?", cut_short=True) == Parted("", "A?", cut=True)
    assert part_thoughts("", reasoning="A?", cut_short=False) == Parted("", "A?", cut=False)
    assert part_thoughts("", reasoning="", cut_short=True) == Parted("", None, cut=False)


@pytest.mark.parametrize(
    "text",
    [
        "Write it so:\n```xml\n<a><think/></a>\n```\nThat is all.",
        "~~~\n<Think />\n~~~",
        "Use `<think/>` for it.",
        "```\r\n<think/>\r\n```\r\nThat is all.",
        "```\r\n<think>\r\n```\r\nThat is all.",
    ],
)
def test_tags_in_code_stay_as_they_are_written(text: str) -> None:
    assert part_thoughts(text) == Parted(text, None, cut=False)
    assert part_thoughts(f"<think>A?</think>{text}") == Parted(text, "A?", cut=False)


def test_an_empty_tag_is_an_empty_thought_and_stays_in_another_one() -> None:
    assert part_thoughts("<think />B") == Parted("B", "", cut=False)
    assert part_thoughts("<think>A <think/> a</think>B") == Parted("B", "A <think/> a", cut=False)
