"""``python -m aih_gen`` is ``aih-gen``."""

import sys

from aih_gen.cli import main

if __name__ == "__main__":
    sys.exit(main())
