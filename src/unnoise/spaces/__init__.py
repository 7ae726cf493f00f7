"""Spaces convert data to and from x0, which has zero mean and unit variance."""
