"""The rules, one a file; the folder is walked to find them."""
