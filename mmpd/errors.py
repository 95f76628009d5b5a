"""The errors that mmpd raises on purpose: each message names the key or file, the value, and what to change."""


class ConfigError(ValueError):
    """A config value that cannot work. Raised before any training starts."""


class DataError(ValueError):
    """An image, annotation or split file that cannot be used."""


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, is unsafe to load, or does not fit the network."""


class WorkDirBusy(RuntimeError):
    """Another live process trains in this work dir."""
