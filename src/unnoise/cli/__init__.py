"""The command `unnoise`: `main` has the table of commands, each file one of them."""
