"""Kinds of files by their endings, and how much of a file is read."""

LONGEST = 4 << 20  # bytes of a text that is read
PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"}
SHELLS = {".sh", ".bash", ".bat", ".ps1", ".cmd"}
# Of the files of a folder, those that may hold something to check.
CHECKED = {".safetensors", ".sft", ".gguf", ".json", ".ipynb", ".png", ".webp", ".jpg", ".jpeg", ".py", ".toml", ".txt"}
CHECKED |= PICKLES | SHELLS
