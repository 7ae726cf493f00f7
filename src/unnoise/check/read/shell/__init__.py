"""Shell texts: commands, variables, branches and options; nothing in them is run."""
