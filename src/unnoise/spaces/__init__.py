"""Coordinates: data as people keep it, to and from the x0 of zero mean and unit variance that models work on."""
