"""What a file is that does not hold what was expected, by its first bytes."""

PICKLE = "a pickle, which can run code; `unnoise convert FILE` writes its weights as safetensors"
# Bytes, words. Source: the formats' own specifications; git-lfs, docs/spec.md; CPython, pickletools.py
SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", f"a zip archive; one of torch.save is {PICKLE}"),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file; `git lfs pull` fetches it"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"RIFF", "a RIFF file, such as WebP or WAV"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "an array of numpy"),
    (b"\x89HDF", "an HDF5 file"),
    (b"<!DOCTYPE", "an HTML page, as a download that failed leaves"),
    (b"<html", "an HTML page, as a download that failed leaves"),
    (b"{", "JSON text"),
)


def described(head: bytes) -> str:
    """Describe a file in a few words by its first bytes; "" where they say nothing."""
    return next((words for sign, words in SIGNS if head.startswith(sign)), "")
