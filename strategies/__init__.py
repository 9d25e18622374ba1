"""How hospitals' updates become the next model: no I/O, no transport."""
