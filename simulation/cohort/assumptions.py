"""What the paper does not say about its 208 hospitals, and what is taken instead."""

from dataclasses import dataclass

import numpy as np

from thyroid_fl.errors import ConfigError
from thyroid_fl.simulation.cohort.tables import N_PATIENTS

POPULATION = {
    "Guangdong": 126.0, "Shandong": 101.5, "Henan": 99.4, "Jiangsu": 84.7,
    "Sichuan": 83.7, "Hebei": 74.6, "Hunan": 66.4, "Zhejiang": 64.6, "Anhui": 61.0,
    "Hubei": 57.8, "Guangxi": 50.1, "Yunnan": 47.2, "Jiangxi": 45.2, "Liaoning": 42.6,
    "Fujian": 41.5, "Shaanxi": 39.5, "Guizhou": 38.6, "Shanxi": 34.9,
    "Chongqing": 32.1, "Heilongjiang": 31.9, "Xinjiang": 25.9, "Gansu": 25.0,
    "Shanghai": 24.9, "Jilin": 24.1, "Inner Mongolia": 24.0, "Beijing": 21.9,
    "Tianjin": 13.9, "Hainan": 10.1, "Ningxia": 7.2, "Qinghai": 5.9, "Tibet": 3.6,
}  # fmt: skip
"""The 31 provinces, autonomous regions and municipalities; millions (census 2020)."""
EAST_COAST = (
    "Beijing", "Tianjin", "Hebei", "Liaoning", "Shanghai", "Jiangsu", "Zhejiang",
    "Fujian", "Shandong", "Guangdong", "Hainan",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumptions:
    """What the paper does not say about its cohort, and what is taken instead."""

    largest_hospital: int = 900
    """Patients of H001."""
    largest_hospital_province: str = "Shanghai"
    """Where H001 stands: the study's centre is Ruijin Hospital, Shanghai."""
    hospital_size_log_sd: float = 1.15
    """Spread of the other hospitals' sizes: SD of their logarithm, log-normal."""
    east_coast: tuple[str, ...] = EAST_COAST
    """Provinces that count as east coast: the 11 of the China Health Statistics
    Yearbook (the paper names none)."""
    east_coast_share: float = 0.525
    """Share of the patients in the east; 730 of 1390 test images, read off the
    intervals in Table 5."""
    prevalence_logit_sd: float = 0.6
    """Spread of the hospitals' malignant share: SD of its logit, normal."""
    patients_per_machine: int = 100
    """A hospital has one ultrasound machine, and one more per so many patients."""
    machines_most: int = 5
    """No hospital has more machines than this."""
    main_machine_share: float = 0.6
    """Share of a hospital's patients on its first machine; others share the rest."""
    other_vendor_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """How Zonare, SonoScape and VINNO divide the 201 patients of "Other"."""
    images_shape: float = 2.0
    """Gamma shape of images per patient beyond the first; smaller: more unequal."""
    age_mean: float = 46.0
    """Mean of the normal distribution that ages follow where quartiles let them."""
    age_sd: float = 13.2
    """SD of that distribution, years."""
    age_least: int = 18
    """The youngest patient, years."""
    age_most: int = 85
    """The oldest patient, years."""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing.

        Raises:
            ConfigError: Naming the first such field.
        """
        provinces = {self.largest_hospital_province, *self.east_coast}
        if unknown := provinces - POPULATION.keys():
            raise ConfigError(
                f"unknown province {min(unknown)!r}; expected names out of: "
                f"{', '.join(POPULATION)}"
            )
        most = {"largest_hospital": N_PATIENTS // 2, "main_machine_share": 1.0}
        most |= {"east_coast_share": 1.0}
        for name in (*most, "patients_per_machine", "machines_most", "images_shape"):
            value = getattr(self, name)
            if not 0 < value <= most.get(name, np.inf):
                limit = f" and at most {most[name]}" if name in most else ""
                raise ConfigError(f"{name} is {value}; expected more than 0{limit}")
        if min(self.hospital_size_log_sd, self.prevalence_logit_sd) < 0:
            raise ConfigError("a spread (log_sd, logit_sd) is negative; use 0 or more")
