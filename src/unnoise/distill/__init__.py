"""Distillation: a student that needs one to four network calls, trained from a teacher by one of three methods."""
