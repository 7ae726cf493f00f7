"""The families of diffusion models that people have: what each is like, and how its files are told apart."""
