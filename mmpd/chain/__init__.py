"""Config → stage: a chain config, and the ordinary mmengine config of each of its stages."""
