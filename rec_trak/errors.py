"""The errors a user can meet, each also a builtin, so that `except ValueError` keeps working.

Not here: the checks themselves, which stand where the input is read.

Every message reads "where: what is wrong. Got X, expected Y. Do Z."; a script prints that one line and exits 2.
"""

from collections.abc import Iterable

from rec_trak.words import QUOTE, plain


class RecTrakError(Exception):
    """Base of all errors that the user can mend; scripts turn it into one line and exit code 2."""


class ConfigError(RecTrakError, ValueError):
    """A YAML file, a flag or an argument that cannot be meant."""


class DataError(RecTrakError, ValueError):
    """A click log, an article file or a target file that cannot be read as what it claims to be."""


class CheckpointError(RecTrakError, ValueError):
    """A checkpoint that does not fit the model it is loaded into, or cannot be read."""


class NumericalError(RecTrakError, ArithmeticError):
    """A number that is not finite, or a system of equations that cannot be solved as asked."""


class StoreError(RecTrakError, RuntimeError):
    """A save directory, or another folder, that cannot be used: another run's, locked, damaged, or no room left."""


class WorkerError(RecTrakError, RuntimeError):
    """A process that worked for this one and ended before it was done."""


class RoomError(RecTrakError, MemoryError):
    """Something asked for that does not fit into the machine's memory."""


class RecTrakWarning(UserWarning):
    """Something the user should know that does not stop the run; scripts print it as one line."""


def listed(what: str, names: Iterable[str], shown: int = 5) -> str:
    """For messages: `3 missing (a, b, c)` with at most `shown` names, or '' when there are none."""
    names = list(names)
    if not names:
        return ""
    more = ", ..." if len(names) > shown else ""
    return f"{len(names)} {what} ({', '.join(plain(name, QUOTE) for name in names[:shown])}{more})"


def told(error: Exception) -> str:
    """For messages: an error of other code in one short line."""
    return f"{type(error).__name__}: {reason(error)}"


def reason(error: Exception) -> str:
    """For messages: what an error of other code says, in one short line without a full stop."""
    return plain(" ".join(str(error).split()), QUOTE).rstrip(".")
