"""`python -m unnoise` is the command `unnoise`."""

import sys

from unnoise.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
