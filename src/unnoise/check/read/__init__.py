"""Readers: convert the files of every tool to subjects."""
