"""A user's mistakes. Command lines print them in one sentence and exit with code 2."""

import re


class AIHError(Exception):
    """A mistake in what the user gave: what, where, what was expected, what was found."""


class ShardError(AIHError):
    """A shard, or a folder of shards, that cannot be trusted."""


class WriteError(AIHError, OSError):
    """A file or folder that cannot be made: no space, no permission, a name that is taken by something else."""


class AssetError(AIHError):
    """A file from outside or of the project that is missing or is not what it should be."""


def one_line(text: str) -> str:
    """Text in which control characters and line breaks, such as file names may hold, are written as escapes."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
