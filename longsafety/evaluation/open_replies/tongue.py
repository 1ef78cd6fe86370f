"""Which language a reply is in, as far as the refusal detector must know: English, Chinese, or another.

Scripts are told by their letters. Among languages in Latin letters, English is told by its commonest words against
those of the others; a text with none of either counts as English where it has no letter that English lacks.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from longsafety.samples.language import count_han

Tongue = Literal["en", "zh", "other"]

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_ENGLISH = frozenset(
    "the and of to in is it that you i for this with not are be on was as but have at by or an they we can't i'm can "
    "cannot will your my from his her she he them what when how if would there their has had been which so do does did "
    "won't don't isn't it's that's about who into than then its our us could should any some only just help sorry "
    "yes here please no one nothing never nor why where because up out all more other use get make want need say said "
    "like know think hard pass doing happening nope absolutely".split()
)
_OTHERS = frozenset(
    # Spanish, Portuguese, Italian, French, Catalan, Romanian
    "el los las un una unos por para con del que pero como más esta este eso esa puedo puede lo siento ayudar ayudarte "
    "su sus muy sí sin sobre o os uma não nao posso isso com mas ajudar desculpe você voce em da dos das na il gli "
    "non è che ma di posso aiutare mi dispiace questo questa con per sono della nel le les des et je ne pas vous vos "
    "mais avec cette ce est désolé peux pour dans qui sur une aider votre nous au aux du amb això nu pot să acest îmi "
    # German, Dutch, Scandinavian languages
    "der die das und ich nicht kann ist mit es tut mir leid aber dabei helfen ihnen dir ein eine zu auf für von den dem "
    "wie werde keine leider bitte nein wir sie auch oder wenn het een ik niet kan dat maar helpen je met sorry voor van "
    "ook geen och jag inte kan det att på som hjälpa tyvärr jeg ikke kan med hjelpe hjælpe beklager dessverre og "
    # Polish, Czech, Turkish, Finnish, Hungarian, Indonesian, Vietnamese, Tagalog, Swahili
    "nie mogę jest że przykro mi ale pomóc w tym na się do nemohu omlouvám je mi líto bu konuda yardımcı olamam üzgünüm "
    "ne bir ve için en voi auttaa valitettavasti mutta nem tudok segíteni sajnálom ez egy maaf saya tidak bisa dapat "
    "membantu itu dengan yang untuk tôi không thể xin lỗi giúp với hindi ko kita pasensya samahani siwezi".split()
) - {"a", "i", "no", "me", "do", "in", "on", "an", "so", "as", "sorry", "die", "den", "met", "of", "at", "or", "kita"}


def tongue(text: str) -> Tongue:
    """The language of most of a text."""
    han = count_han(text)
    foreign = latin = 0
    for character in text:
        if character.isalpha() and not count_han(character):
            if unicodedata.name(character, "").startswith(("LATIN", "FULLWIDTH LATIN", "MODIFIER")):
                latin += 1
            else:
                foreign += 1
    if foreign and 2 * foreign > han // 2 + latin // 3:
        return "other"
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    if han and han / 1.6 > len([word for word in words if not count_han(word)]):
        return "zh"
    english = sum(word in _ENGLISH or word.partition("'")[2] in ("t", "m", "s", "ll", "re", "ve", "d") for word in words)
    others = sum(word in _OTHERS and word not in _ENGLISH for word in words)
    if others > english:
        return "other"
    accents = sum(any(ord(letter) > 0xBF for letter in word) for word in words if not count_han(word))
    return "other" if not english and accents and len(words) > 2 else "en"
