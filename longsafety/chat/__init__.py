"""Chats with a model that writes or judges: a server with OpenAI's API, or a local model.

``server`` is the client: ``form`` is what it sends, ``body`` and ``completion`` check what comes back, ``problems``
says what an error means, ``patience`` when to ask again. ``replies`` keeps replies on disk, ``spending`` is the budget,
``cached`` combines them.
"""
