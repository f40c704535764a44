"""How a process of the model dies."""


class Crash(BaseException):
    """The process dies here."""
