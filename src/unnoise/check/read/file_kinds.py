"""Kinds of files by extension, and the largest size that is read."""

LONGEST = 4 << 20  # bytes of a text that is read
PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"}
WEIGHTS = {".safetensors", ".sft", ".gguf"} | PICKLES
SHELLS = {".sh", ".bash", ".bat", ".ps1", ".cmd"}
YAMLS = {".yaml", ".yml"}
# Files of a folder that may contain something to check.
CHECKED = {".json", ".ipynb", ".png", ".webp", ".jpg", ".jpeg", ".py", ".toml", ".txt"}
CHECKED |= WEIGHTS | SHELLS | YAMLS
