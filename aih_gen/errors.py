"""A user's mistakes. Command lines print them in one sentence and exit with code 2."""


class AIHError(Exception):
    """A mistake in what the user gave: what, where, what was expected, what was found."""


class ShardError(AIHError):
    """A shard, or a folder of shards, that cannot be trusted."""


class WriteError(AIHError, OSError):
    """A file or folder that cannot be made: no space, no permission, a name that is taken by something else."""


class AssetError(AIHError):
    """A file from outside or of the project that is missing or is not what it should be."""
