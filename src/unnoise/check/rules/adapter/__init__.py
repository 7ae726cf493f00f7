"""Rules of LoRA files and other adapters, and of whether they fit their base."""
