"""Models, files and pipelines of other libraries."""
