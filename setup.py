"""Lists the packages, and makes the long description; all else stands in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

# Every folder is a package, also one of shaders alone, so that its files are installed. The files of assets/ are
# installed as aih_gen.shipped, where aih_gen/assets.py looks for them.
packages = find_namespace_packages(include=["aih_gen*", "hdr_model*"], exclude=["*.__pycache__"])

# Neither the pictures nor the files that the README points to are beside a package's description.
readme = Path("README.md").read_text(encoding="utf-8")
readme = re.sub(r"!\[[^]]*\]\((?!https:)[^)]*\)\n*", "", readme)
readme = re.sub(r"\[([^]]*)\]\((?!https:)[^)]*\)", r"\1", readme)

setup(packages=[*packages, "aih_gen.shipped"], long_description=readme, long_description_content_type="text/markdown")
