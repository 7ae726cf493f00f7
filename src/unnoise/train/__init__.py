"""Training: a recipe (`recipe`) names two tasks (`autoencoder`, then `denoiser`) that one loop (`loop`) runs."""
