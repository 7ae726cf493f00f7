"""LoRA and related adapters: read, check, apply, merge, resize, train and write."""
