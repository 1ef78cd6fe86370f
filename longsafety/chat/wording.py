"""The words by which servers tell an error from another. They come after the code, and the ordinary ones come first."""

from __future__ import annotations

import re

from longsafety.chat.bounds import SIZE

_WHAT = r"(?:prompt|content|input|output|response|reply|request|message|text|conversation)s?"
_TEXT = r"(?:words?|information|content|topics?|material|language|terms?|prompt|output)"
_BAD = r"(?:unsafe|harmful|disallowed|inappropriate|objectionable|offensive|toxic|hateful|prohibited|sexual|sensitive)"

TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size|limit|shift)|maximum (?:context|input|prompt|number of (?:input )?tokens)|"
    r"(?:prompt|input|request|message|string|text|sequence)s?\b[^.]{0,60}\b(?:too (?:long|large|many)|longer than)|"
    r"too many (?:input |prompt )?tokens|exceed\w*\b[^.]{0,60}\b(?:context|token|input length)|reduce the length|"
    r"max_(?:model|seq|input|sequence)_len|max_position_embeddings|max_new_tokens` must be <=|"
    r"tokens must be [^.]{0,30}, got -\d|expected maxLength|must have less than \d+ tokens|"
    r"token (?:count|limit) [^.]{0,40}exceed|request (?:entity )?too large|"
    r"\btokens?\b[^.]{0,20}exceed|\d tokens? > \d|"
    r"(?:prompt|input|sequence) (?:token )?length\b[^.]{0,40}(?:should|must|exceed|greater|larger|over|above|>)|"
    r"(?:输入|文本|上下文|提示词?|内容|消息|长度)[^。，,]{0,12}(?:超过|超出|超限|过长|太长)|长度超",
    re.IGNORECASE,
)
TOO_LONG_EVER = re.compile(r"request too large|too large for", re.IGNORECASE)
"""Of a rate limit: a single request exceeds it."""
FILTERED = re.compile(
    r"content[ _-]?(?:filter|polic|management|moderat|violat)|responsible ?ai|moderation|\bflagged\b|"
    r"inappropriate|usage (?:polic|guideline)|prohibited[ _]content|data_?inspection|content exists risk|"
    r"considered high risk|safety (?:system|polic|filter|setting|reason|check|violation|concern)|guardrail|jailbreak|"
    r"block_?reason|new_sensitive|sensitive ?content|"
    rf"\b{_WHAT}\b[^.]{{0,40}}\bblocked\b|blocked\b[^.]{{0,40}}\b(?:content|safety|polic)|"
    rf"(?<!case[ -])\b{_BAD}[ _]{_TEXT}\b(?![ _-]type)|"
    rf"\b{_WHAT} (?:is|was|were|are|has been)\b[^.]{{0,30}}\b(?:unsafe|harmful|disallowed)|"
    rf"\b{_WHAT}\b[^.]{{0,60}}\bviolat\w*\b[^.]{{0,60}}\b(?:polic|guideline|terms|practice)|"
    r"不安全|(?<!大小写)敏感|违规|不合规|有害|不当内容|审核[^。]{0,4}未?不?通过|不適切",
    re.IGNORECASE,
)
CUT = re.compile(r"could not finish the message|output limit was reached", re.IGNORECASE)
BROKE = re.compile(r"insufficient_quota|exceeded your current quota|billing|insufficient (?:balance|credit|fund)|"
                   r"out of credits|payment required", re.IGNORECASE)  # fmt: skip
AGAIN = re.compile(r"retry|try again", re.IGNORECASE)
LIMITED = re.compile(r"rate.?limit|too many requests|\bper (?:second|minute|hour|day)\b|\b[TR]PM\b|频率|频繁|限流|并发",
                     re.IGNORECASE)  # fmt: skip
DOWN = re.compile(r"unavailable|time(?:d )?.?out|overload|temporar|\bbusy\b|out of memory", re.IGNORECASE)
"""Of a server that fails: it passes, whatever else is said (the moderation, say, cannot be reached)."""
KEY = re.compile(r"api[ _-]?key|access token|unauthorized|unauthenticated|\baccount\b[^.]{0,60}\b(?:suspend|disabled|"
                 r"deactivat|banned|blocked)", re.IGNORECASE)  # fmt: skip
MODEL = re.compile(
    r"no such model|model[^.]{0,80}\b(?:not exist|not found)|model_not_found|"
    r"(?:invalid|unknown) model(?: (?:name|id|identifier)\b|:? ?['\"`])",
    re.IGNORECASE,
)
_WRONG_KEY = re.compile(r"invalid[ _]api[ _]key|incorrect api key|api key not valid|unauthorized|unauthenticated",
                        re.IGNORECASE)  # fmt: skip
PASSES = re.compile(
    r"rate.?limit|too many requests|overload|capacity|temporar|try again|time(?:d )?.?out|unavailable|busy|upstream|"
    r"provider returned error|internal|server.?error|bad gateway|loading model", re.IGNORECASE,
)  # fmt: skip
REFUSES = re.compile(
    r"unsupported|not support|not allowed|not permitted|unrecognized|unknown|unexpected|extra (?:inputs|fields)|"
    r"does not (?:accept|take)|only the default|deprecated|invalid|must be|not available|cannot be|can only|"
    rf"use '?max_completion_tokens|no endpoints found that support|out of range|one of|{SIZE.pattern}",
    re.IGNORECASE,
)
ROLES = re.compile(r"\broles?\b|system (?:message|prompt|instruction)|chat[ _]template", re.IGNORECASE)
"""The server's chat template does not take the messages."""


def concerns_all(said: str) -> bool:
    """Whether no request can be answered: the key is wrong, or the model."""
    return bool(_WRONG_KEY.search(said) or MODEL.search(said))


def concerns_text(said: str) -> bool:
    """Whether a filter may be meant: words about a key, a model or a rate are about neither prompt nor reply."""
    return not (KEY.search(said) or MODEL.search(said) or LIMITED.search(said))
