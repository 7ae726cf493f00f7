"""Configurations of training programs, one file for each."""
