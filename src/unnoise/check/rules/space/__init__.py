"""Rules of the space: latents and their scale, sizes and frames."""
