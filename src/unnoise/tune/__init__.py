"""Fit the noise levels and step weights of few-step sampling to a model."""
