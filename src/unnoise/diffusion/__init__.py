"""Floor 1: a torch network becomes a denoiser in the unit frame; noise, guidance, losses and the loop."""
