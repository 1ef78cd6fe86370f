"""Legal and medical prose is told from other prose by its words, in both languages."""

from __future__ import annotations

import pytest

from longsafety.corpus.domains import Domain, domains_of

LAW = (
    "A tenant may ask the court to set the notice aside. The judge hears both parties, and the landlord is liable for "
    "damages where the lease was broken."
)
MEDICINE = "A patient with a fever and chronic pain sees a physician; the infection is treated with two doses a day."


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        (LAW, ["law"]),
        (MEDICINE, ["medicine"]),
        (f"{LAW} {MEDICINE}", ["law", "medicine"]),
        ("原告向法院起诉，律师出示合同，法官作出判决。", ["law"]),
        ("患者发热，医生诊断为感染，治疗用抗生素，剂量每天两次。", ["medicine"]),
        ("The tenant asked the judge a question. The tenant asked the judge again, in court, in court, in court.", []),
        ("A class inherits its methods; the contract of a function says which section of the license applies.", []),
        ("园丁一大早就给玫瑰花浇水。", []),
        ("", []),
    ],
)
def test_a_passage_is_of_the_domains_that_its_words_are_of(text: str, domains: list[Domain]) -> None:
    assert domains_of(text) == domains
    assert domains_of(text.upper()) == domains
