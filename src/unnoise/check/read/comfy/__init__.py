"""Workflows of ComfyUI: its two formats as one graph, and the generations of the graph."""
