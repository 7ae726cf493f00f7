"""Rules of training: settings of trainers, metadata of trained files, and training scripts."""
