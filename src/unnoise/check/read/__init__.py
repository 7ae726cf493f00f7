"""Readers: from the files of every tool to subjects."""
