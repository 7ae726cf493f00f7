"""Kinds of files by extension, and the largest size that is read."""

LONGEST = 4 << 20  # bytes of a text that is read
PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"}
SHELLS = {".sh", ".bash", ".bat", ".ps1", ".cmd"}
YAMLS = {".yaml", ".yml"}
# Files of a folder that may contain something to check.
CHECKED = {".safetensors", ".sft", ".gguf", ".json", ".ipynb", ".png", ".webp", ".jpg", ".jpeg", ".py", ".toml", ".txt"}
CHECKED |= PICKLES | SHELLS | YAMLS
