"""All public schemas that are read."""

from __future__ import annotations

from longsafety.formats.chat_sets import CHATS
from longsafety.formats.control_sets import CONTROLS
from longsafety.formats.item_sets import ITEMS
from longsafety.formats.preference_sets import PREFERENCES
from longsafety.formats.request_sets import REQUESTS
from longsafety.formats.schema import Schema

_ALL = (*CHATS, *PREFERENCES, *ITEMS, *REQUESTS, *CONTROLS)
SCHEMAS: dict[str, Schema] = {schema.name: schema for schema in _ALL}
"""Name → schema."""
