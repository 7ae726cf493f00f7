"""Follow a Python script from its syntax tree, without running any of it."""
