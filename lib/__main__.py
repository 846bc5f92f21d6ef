"""``python -m lib --help``: the command line, which lives in `lib.run.cli`."""

import sys

from lib.run.cli import main

if __name__ == "__main__":
    sys.exit(main())
