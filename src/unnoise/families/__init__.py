"""Published families of diffusion models: the facts of each, and how its files are recognised."""
