"""Command lines: `parse_args` and one function `run(args)` each, which `tools/*.py` call."""
