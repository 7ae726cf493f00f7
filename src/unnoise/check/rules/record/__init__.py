"""UN9xx: files, metadata and safety."""
