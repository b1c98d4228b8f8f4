"""``aih-gen``, also where a package that it needs is missing: then ``aih-gen doctor`` alone works."""

from __future__ import annotations

import sys

from aih_gen.doctor import INSTALL, Finding, diagnose
from aih_gen.errors import one_line


def main() -> int:
    """Run ``aih-gen`` with the arguments of the process; returns the exit code."""
    try:
        from aih_gen.cli import main as run
    except ImportError as error:
        if sys.argv[1:2] == ["doctor"]:
            return diagnose("--json" in sys.argv, [Finding("aih-gen", False, one_line(str(error)), INSTALL)])
        print(f"aih-gen: error: {one_line(str(error))}; aih-gen doctor says what is missing", file=sys.stderr)
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
