"""Rules on what a model is, and how it predicts."""
