"""Imports every module of mmpd.sr that registers something (the target of `custom_imports`)."""

from . import data, infer, metric, model, networks, precision, rival, task, terms, view  # noqa: F401
