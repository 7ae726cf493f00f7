"""UN9xx: files, records and safety."""
