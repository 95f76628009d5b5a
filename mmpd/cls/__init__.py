"""The classification set: an optional layer on the core. Nothing on the detection side imports this package."""
