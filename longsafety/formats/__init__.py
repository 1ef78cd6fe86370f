"""Public formats, read and written."""
