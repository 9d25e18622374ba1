"""Many hospitals on one machine: cohort, phantoms, comparison, `thyroid-sim`."""
