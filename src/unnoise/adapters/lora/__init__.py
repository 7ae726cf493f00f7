"""Adapters of low rank: read, tied to a base, worn, merged, changed and written."""
