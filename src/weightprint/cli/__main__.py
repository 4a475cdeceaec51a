"""`python -m weightprint.cli`."""

import sys

from weightprint.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
