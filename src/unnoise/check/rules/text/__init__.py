"""UN8xx: prompt and text."""
