"""Many hospitals on one machine: cohort, phantom pictures, comparison, `thyroid-sim`."""
