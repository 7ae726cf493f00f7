"""UN1xx: process, grid and sampler."""
