"""A hospital's connection to the centre."""
