"""What can go wrong, as one tree.

ThyroidFLError          what the user can mend; a command line ends with exit code 2
├── AuditError          a hospital's audit log is not what was written
├── ConfigError         a setting of the study or of a command
├── ManifestError       the table of pictures, the pictures, or a split of them
├── PolicyError         a request that a hospital's policy refuses
└── RoundError          a round of the federation

Every message says what is wrong, where, and what to do.
"""


class ThyroidFLError(Exception):
    """An error that the user can mend; its text says how."""


class AuditError(ThyroidFLError):
    """A hospital's audit log was changed, or cannot be continued."""


class ConfigError(ThyroidFLError):
    """A setting is unknown, out of range, or contradicts another one."""


class ManifestError(ThyroidFLError):
    """The manifest, a picture that it names, or a split of it cannot be used."""


class PolicyError(ThyroidFLError):
    """A hospital refuses what the centre asks; its text may be shown to the centre.

    It names settings and limits only: no path, no patient.
    """


class RoundError(ThyroidFLError):
    """A round of the federation cannot give a model."""
