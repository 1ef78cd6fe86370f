"""The loss and its gradients are those of the full logits, whichever way the head is called, and however it is cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from longsafety.model import head as module
from longsafety.model.head import answer_loss

N, HIDDEN, VOCABULARY = 10, 6, 50


class Other(torch.nn.Linear):
    """Not a plain linear head."""


def made(kind: type[torch.nn.Linear], *, bias: bool, trained: bool) -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    head = kind(HIDDEN, VOCABULARY, bias=bias)
    head.requires_grad_(trained)
    return head, torch.randn(N, HIDDEN, requires_grad=True)


TARGETS = torch.arange(N) * 3
WEIGHTS = torch.linspace(0.1, 1, N)


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("chunk", [3, 5, 1024])
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(
    ("kind", "bias"),
    [(torch.nn.Linear, False), (torch.nn.Linear, True), (Other, False)],
    ids=["plain", "bias", "other"],
)
def test_equal_to_the_full_logits(
    monkeypatch: pytest.MonkeyPatch, kind: type[torch.nn.Linear], bias: bool, trained: bool, chunk: int, scale: float
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    head, hidden = made(kind, bias=bias, trained=trained)
    expected = (cross_entropy(head(hidden), TARGETS, reduction="none") * WEIGHTS).sum()
    (expected * scale).backward()
    wanted = [hidden.grad, *(parameter.grad for parameter in head.parameters())]
    head, hidden = made(kind, bias=bias, trained=trained)
    loss = answer_loss(head, hidden, TARGETS, WEIGHTS)
    (loss * scale).backward()
    torch.testing.assert_close(loss, expected)
    for one, other in zip([hidden.grad, *(parameter.grad for parameter in head.parameters())], wanted, strict=True):
        assert (one is None) == (other is None) == (not trained and one is not hidden.grad)
        if one is not None:
            torch.testing.assert_close(one, other)


def test_in_bfloat16_under_autocast() -> None:
    head, hidden = made(torch.nn.Linear, bias=False, trained=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = (cross_entropy(head(hidden).float(), TARGETS, reduction="none") * WEIGHTS).sum()
        expected.backward()
        assert hidden.grad is not None
        wanted = hidden.grad.clone(), head.weight.grad.clone()
        head, hidden = made(torch.nn.Linear, bias=False, trained=True)
        loss = answer_loss(head, hidden, TARGETS, WEIGHTS)
        loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-3)
    assert hidden.grad is not None and hidden.grad.dtype == head.weight.grad.dtype == torch.float32
    for one, other in zip((hidden.grad, head.weight.grad), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("kind", "calls"), [(torch.nn.Linear, 1), (Other, 2)])
def test_logits_exist_for_a_part_of_the_positions_at_a_time(
    monkeypatch: pytest.MonkeyPatch, kind: type[torch.nn.Linear], calls: int
) -> None:
    shapes: list[tuple[int, ...]] = []
    original = torch.nn.functional.linear

    def watched(part: torch.Tensor, *rest: Any) -> torch.Tensor:
        shapes.append(tuple(part.shape))
        return original(part, *rest)

    monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(module, "linear", watched)
    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    head, hidden = made(kind, bias=False, trained=True)
    answer_loss(head, hidden, TARGETS, WEIGHTS).backward()
    assert sorted(shapes) == sorted(calls * [(4, HIDDEN), (4, HIDDEN), (2, HIDDEN)])
