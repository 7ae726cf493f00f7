"""File formats: headers of safetensors and GGUF, strict JSON, atomic writes; floor 0 but for what reads tensors."""
