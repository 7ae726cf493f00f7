"""From prompts to `Conditioning`: tokenizers and text encoders."""
