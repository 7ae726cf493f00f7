"""The recipe of a source that has none: what is in it, what a step costs here, and what can be trained in the time."""
