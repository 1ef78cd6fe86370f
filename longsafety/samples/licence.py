"""The licences of a sample's parts, and which of several is the strictest."""

from __future__ import annotations

from collections.abc import Iterable

from longsafety.samples.recipe import Sample, is_made

UNKNOWN = "unknown"
AS_CORPUS = "as the corpus"
"""The licence of a sample that is made of the corpus's documents only."""
SORRY_BENCH = "SORRY-Bench Dataset License"
GATED_ODC_BY = "ODC-BY-1.0, AI2 Responsible Use Guidelines"
LICENCE_ORDER = (
    UNKNOWN,
    SORRY_BENCH,
    "CC-BY-NC-SA-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-SA-4.0",
    GATED_ODC_BY,
    "ODC-BY-1.0",
    "CC-BY-4.0",
    "MIT",
    "Apache-2.0",
    "CC0-1.0",
)
"""Strictest first; a set carries the strictest licence of its parts."""
_RESTRICTIONS = {
    UNKNOWN: "nobody said under which terms it may be used or passed on",
    SORRY_BENCH: "gated; it may not be passed on to others, nor anything that holds it",
    "CC-BY-NC-SA-4.0": "non-commercial use only; passed on under the same licence",
    "CC-BY-NC-4.0": "non-commercial use only",
    "CC-BY-SA-4.0": "passed on under the same licence",
    GATED_ODC_BY: "gated: who receives it must accept the AI2 Responsible Use Guidelines",
}
_NOTICE_ALONE = ("PSF-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "ISC")
DOCUMENTS, WORDS = "documents", "requests, answers and options"
_RANKS = {licence.lower(): rank for rank, licence in enumerate(LICENCE_ORDER)}


def licences(sample: Sample, corpus: str) -> dict[str, str]:
    """Part → licence: that of the documents (``corpus``), and that of the words from a seed item or an imported row.

    A part without a given licence is ``UNKNOWN``.
    """
    parts = {}
    if any(not is_made(document) for document in sample.documents):
        parts[DOCUMENTS] = corpus or UNKNOWN
    if sample.licence != AS_CORPUS:
        parts[WORDS] = sample.licence or UNKNOWN
    return parts or {WORDS: UNKNOWN}


def restriction(licence: str) -> str:
    """What a licence forbids or asks of those who use or pass on the data; empty for one that asks for a notice alone.

    ``licence`` may be several, with commas between them. One that is not known here is to be read.
    """
    known = {name.lower(): text for name, text in _RESTRICTIONS.items()}
    known |= dict.fromkeys([name.lower() for name in (*LICENCE_ORDER, *_NOTICE_ALONE) if name.lower() not in known], "")
    whole = licence.lower()
    parts = [whole] if whole in known else whole.split(", ")
    asked = [known.get(part, "not known here; read it before use") for part in parts]
    return "; ".join(dict.fromkeys(filter(None, asked)))


def strictest(licences: Iterable[str]) -> str:
    """The first in ``LICENCE_ORDER``; ``UNKNOWN`` if there are none.

    A licence that is not in that order counts as stricter than those that are.
    """
    return min(licences, key=lambda licence: (_RANKS.get(licence.lower(), -1), licence), default=UNKNOWN)
