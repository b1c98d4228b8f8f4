"""``python -m hdr_model`` is ``hdr``."""

import sys

from hdr_model.cli import main

if __name__ == "__main__":
    sys.exit(main())
