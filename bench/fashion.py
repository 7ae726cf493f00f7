"""Measure models of Fashion-MNIST: `python bench/fashion.py RUNS` prints the table of docs/fashion.md.

RUNS holds `fashion/fashion.safetensors` and `fashion-unconditional/fashion-unconditional.safetensors`, the results of
the two recipes, and `ddpm.safetensors` and `diffusers.safetensors`, written by bench/fashion_peers.py; what is missing
is left out. All are drawn with our default sampler at CALLS network calls, the peers too, whose own samplers need more.

The Fréchet distance is that of the features of bench/fashion_features.py, to the 10,000 test pictures.
"""

SAMPLES, BATCH, CALLS = 10_000, 250, 10
