"""The preflight: what is wrong is said before hours are lost."""
