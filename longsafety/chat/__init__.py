"""Chats with a model that writes or judges: a server with OpenAI's API, or a local model.

``server`` is the client of such a server, ``replies`` keeps replies on disk, ``cached`` combines both with a budget.
"""
