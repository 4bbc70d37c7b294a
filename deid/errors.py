"""The exception tree, and the exit code of each branch.

    DeidError                     1  anything not named below
    ├── UsageError                2  options that contradict each other or make no sense
    │   └── WrongKey              2  a key file that holds no key, or another registry's
    ├── InputError                3  the source cannot be used
    │   ├── InputNotFound         3  missing, or not readable
    │   ├── NotMedia              3  empty, text, or a container nobody can open
    │   ├── NoVideoStream         3  audio only, or cover art only
    │   ├── UnsupportedInput      3  media that this tool refuses to handle half-well
    │   ├── DamagedRegistry       3  a file that is no registry of people, or a broken one
    │   └── DamagedInput          4  ends early or has undecodable frames (``--salvage`` takes it)
    ├── OutputError               5  the target cannot be written
    │   ├── OutputExists          5  there already (``--overwrite`` takes its place)
    │   └── DiskFull              5  no space left for the output
    ├── ModelError                6  weights missing or unreadable
    ├── PrivacyError              7  the run could not promise that no face leaks
    ├── AuditFailed               8  the audit found a leak or a broken clip, and ``--strict`` was asked for
    └── BatchFailed               9  some files of a batch failed; the others are finished

A run stopped by Ctrl-C or SIGTERM exits with 130 or 143. Every message is one sentence that names what is wrong
and what to do about it. Whatever the code, a failed run leaves no output.
"""

from __future__ import annotations


class DeidError(Exception):
    """Base class; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(DeidError):
    exit_code = 2


class WrongKey(UsageError):
    pass


class InputError(DeidError):
    exit_code = 3


class InputNotFound(InputError):
    pass


class NotMedia(InputError):
    pass


class NoVideoStream(InputError):
    pass


class UnsupportedInput(InputError):
    pass


class DamagedRegistry(InputError):
    pass


class DamagedInput(InputError):
    exit_code = 4


class OutputError(DeidError):
    exit_code = 5


class OutputExists(OutputError):
    pass


class DiskFull(OutputError):
    pass


class ModelError(DeidError):
    exit_code = 6


class PrivacyError(DeidError):
    exit_code = 7


class AuditFailed(DeidError):
    exit_code = 8


class BatchFailed(DeidError):
    exit_code = 9
