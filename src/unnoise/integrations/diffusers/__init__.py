"""Foreign models: the networks are classes of diffusers and transformers, everything else is ours."""
