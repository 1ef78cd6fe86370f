"""The teacher: the model that writes what a seed item lacks."""
