"""Adapters: LoRA and ControlNet; each takes `Components`."""
