"""What requests cost, in tokens and in money, and the bounds on it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from longsafety import settings
from longsafety.errors import DataError


class BudgetSpent(DataError):
    """The budget is spent."""


class Priced(Protocol):
    """The settings of what is paid for."""

    @property
    def price(self) -> settings.Price: ...
    @property
    def budget_tokens(self) -> int | None: ...
    @property
    def budget_money(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Spending:
    """What was sent and what it cost; kept replies cost nothing."""

    prompts: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.reply_tokens

    def money(self, price: settings.Price) -> float:
        """In the price's currency."""
        return (self.prompt_tokens * price.prompt + self.reply_tokens * price.reply) / 1_000_000

    def plus(self, prompt_tokens: int, reply_tokens: int) -> Spending:
        return Spending(self.prompts + 1, self.prompt_tokens + prompt_tokens, self.reply_tokens + reply_tokens)


class Budget:
    """Counts what was spent since it was made; shared by threads. It is exceeded at most by the requests in flight."""

    def __init__(self, section: Priced, key: str) -> None:
        self.section, self.key = section, key
        self.spent = Spending()
        self._lock = threading.Lock()

    def add(self, prompt_tokens: int, reply_tokens: int) -> None:
        with self._lock:
            self.spent = self.spent.plus(prompt_tokens, reply_tokens)

    def check(self) -> None:
        """Raises BudgetSpent where no further request may be sent."""
        tokens, money, spent = self.section.budget_tokens, self.section.budget_money, self.spent
        again = "raise it, or run again to spend the same budget once more"
        if tokens is not None and spent.tokens >= tokens:
            raise BudgetSpent(f"{self.key}.budget_tokens = {tokens}: {spent.tokens} tokens are spent; {again}")
        cost = spent.money(self.section.price)
        if money is not None and cost >= money:
            raise BudgetSpent(f"{self.key}.budget_money = {money:g}: {cost:.4g} is spent; {again}")
