"""Rules of training: what a training is told, what a trained file remembers, what a training script does."""
