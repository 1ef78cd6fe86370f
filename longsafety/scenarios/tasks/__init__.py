"""The thirteen tasks, their options and phrases."""
