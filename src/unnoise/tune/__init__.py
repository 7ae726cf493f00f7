"""Fit to a model what is otherwise taken from a table."""
