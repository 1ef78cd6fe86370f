"""Which language a reply is in, as far as the refusal detector must know: English, Chinese, or another.

Scripts are told by their letters. Among languages in Latin letters, English is told by its commonest words against
those of the others. A word of both counts for neither, a name in capitals for none, and as many of each mean another
language. A text with none of either counts as English where it has no letter that English lacks.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from longsafety.samples.language import count_han

Tongue = Literal["en", "zh", "other"]

_WORD = re.compile(r"(?<![.@/\w])[^\W\d_]+(?:['’][^\W\d_]+)?")
_NAME = re.compile(r"(?<=[\w,'’\"-] )[A-Z][a-z]+")
"""A word with a capital inside a sentence."""
_ENGLISH_WORDS = """
about absolutely all an and any are as at be because been but by can can't cannot could did do does doing don't for
from get had happening hard has have he help her here his how i i'm if in into is isn't it it's its just know like
make more my need never no nope nor not nothing of on one only or other our out pass per please pot pour said say she
should sin so some sorry than that that's the their them then there they think this to up us use van want was we what
when where which who why will with won't would yes you your"""
_OTHER_WORDS = """
aber acest aider aiutare anteeksi atsiprašau atvainojiet això ajudar ale amb att au auch auf auttaa aux avec ayudar
ayudarte beklager bir bisa bitte bocsánat bu ce cette che com como con da dabei dans dapat das dat del della dem
dengan der des desculpa desculpe dessverre det di dir disculpa dispiace dizut dos du dut désolé een egy ein eine el
em en entschuldigung es esa eso est esta este et excusez ez ezin förlåt für geen giúp gli helfen helpen het hindi
hjelpe hjälpa hjælpe ich ihnen ik ikke il inte isso izvinite ist itu için jag je jeg jest kahjuks kan kann keine
không ko konuda las le leid leider les lo los líto lỗi ma maaf maar mais mas med membantu mi mir mit mogę mutta muy
más na nao ne nein nel nem nemohu nicht nie niet no non nous nu não o och oder og olamam omlouvám ook oprostite os
para pas pasensya per perdón perdona pero peux pomóc por posso pot pour przepraszam przykro puc puede puedo på que
questa questo qui sajnálom samahani saya scusa scusi segíteni sentitzen sie siento sin siwezi się sobre som sono
sorry su sur sus sí să thể tidak tudok tut tym tyvärr tôi uma un una und undskyld une unos untuk valitettavasti van
ve voce você voi von voor vos votre vous với w wenn werde wie wir xin yang yardımcı zu è îmi üzgünüm że"""
"""Of Romance, Germanic, Slavic and Baltic languages, Basque, Estonian, Finnish, Hungarian, Indonesian, Swahili, Turkish
and Vietnamese; and English words that are some of them, too."""
_SHARED = frozenset(_ENGLISH_WORDS.split()) & frozenset(_OTHER_WORDS.split())
_ENGLISH, _OTHERS = frozenset(_ENGLISH_WORDS.split()) - _SHARED, frozenset(_OTHER_WORDS.split()) - _SHARED


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
    english = sum(
        word in _ENGLISH or word.partition("'")[2] in ("t", "m", "s", "ll", "re", "ve", "d") for word in words
    )
    others = sum(match[0].lower() in _OTHERS for match in _WORD.finditer(text) if not _NAME.match(text, match.start()))
    if others and others >= english:
        return "other"
    accents = sum(any(ord(letter) > 0xBF for letter in word) for word in words if not count_han(word))
    return "other" if not english and accents and len(words) > 2 else "en"
