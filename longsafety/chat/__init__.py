"""Chats with a model that writes or judges: a server with OpenAI's API, or a local model.

``server`` is the client (its settings: ``section``): ``form`` is what it sends, within the ``bounds`` that the server
names; ``body`` and ``completion`` check what comes back; ``problems`` says what an error means, by its ``wording``;
``advice`` what to do about it; ``patience`` when to ask again. ``replies`` keeps replies on disk, ``spending`` is the
budget, ``cached`` combines them.
"""
