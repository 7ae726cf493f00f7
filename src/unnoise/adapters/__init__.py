"""Adapters: LoRA and controls; each takes `Components`."""
