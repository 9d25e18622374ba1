"""Everything that a comparison concludes, a sentence each, for terminal and report."""

from typing import Final

from thyroid_fl.server.report.calibration_section import calibration_section
from thyroid_fl.server.report.findings import Run, headlines
from thyroid_fl.server.report.gap_section import gap_section, gap_sentences
from thyroid_fl.server.report.harm_section import harm_section, harm_sentences
from thyroid_fl.server.report.operating_section import operating_section
from thyroid_fl.server.report.seeds_section import seed_sentences, seeds_section
from thyroid_fl.server.report.subgroup_section import subgroup_section

SECTIONS: Final = {
    "seeds": seeds_section,
    "gap": gap_section,
    "harm": harm_section,
    "operating": operating_section,
    "calibration": calibration_section,
    "subgroups": subgroup_section,
}
"""The templates of the same names are in ``sections/``."""


def conclusions(run: Run) -> list[str]:
    """Return the sentences on one task: differences, gap, harm, trainings."""
    return [
        *headlines(run.comparisons),
        *gap_sentences(run),
        *harm_sentences(run),
        *seed_sentences(run),
    ]
