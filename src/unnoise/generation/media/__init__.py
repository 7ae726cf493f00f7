"""Samples as files: images, videos, audio, contact sheets."""
