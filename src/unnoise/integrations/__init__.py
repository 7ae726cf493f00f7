"""Models, files and pipelines of other programs."""
