"""Rules of LoRA files and other adapters, and of how they meet their base."""
