"""Files of weights: read safely, write atomically, convert."""
