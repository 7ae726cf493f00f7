"""Floor 1: torch networks as denoisers in the unit frame; guidance, noise, losses and the sampling loop."""
