"""UN7xx: editing and masks."""
