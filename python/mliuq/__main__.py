"""``python -m mliuq``: the command line."""

import sys

from mliuq.cli import main

if __name__ == "__main__":
    sys.exit(main())
