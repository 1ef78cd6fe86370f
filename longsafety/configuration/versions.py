"""What Hydra and OmegaConf name otherwise from 1.4 and 2.4 on; the older names warn there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hydra
import omegaconf
from omegaconf import OmegaConf


def _version(module: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in str(module.__version__).split(".")[:2])


BASE: dict[str, Any] = {} if _version(hydra) >= (1, 4) else {"version_base": "1.3"}
"""For ``hydra.main`` and ``initialize_config_dir``: the behaviour of Hydra 1.3, which later versions have anyway."""


def register_resolver(name: str, resolver: Callable[..., Any]) -> None:
    """Registers a resolver of interpolations, in the place of one of that name."""
    newer: Any = OmegaConf.register_resolver  # before 2.4 it is a function of another kind
    register = newer if _version(omegaconf) >= (2, 4) else OmegaConf.register_new_resolver
    register(name, resolver, replace=True)
