"""How fast the statistics are, and whether their intervals hold what they promise.

Run: ``python benchmarks/statistics.py [--quick] [--replicates 2000]``; the work is in
``intervals.py``. ``python benchmarks/ANY.py`` looks for modules here first, so that
this file hides the standard library's ``statistics``, for which libraries ask: imported
under that name, it gives way.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

if __name__ == "statistics":
    here = str(Path(__file__).parent)
    others = [place for place in sys.path if str(Path(place).resolve()) != here]
    spec = PathFinder.find_spec("statistics", others)
    standard = sys.modules["statistics"] = module_from_spec(spec)
    spec.loader.exec_module(standard)
elif __name__ == "__main__":
    from intervals import main

    main()
