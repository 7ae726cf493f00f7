"""Training: one loop (`loop`) runs the tasks of a recipe (`recipe`): `autoencoder`, then `denoiser`, or `adapter`."""
