"""File formats: headers of safetensors and GGUF, strict JSON, atomic writes. Modules that read tensors import torch."""
