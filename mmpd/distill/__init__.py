"""One step: the Distiller, its frozen guide, and what it sees of a network."""
