"""Workflows of ComfyUI: its two formats as one graph, and the generations that the graph makes."""
