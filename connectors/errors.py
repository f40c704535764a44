"""Errors that a person can cure. The command line prints each as one sentence and exits with its code.

UserError
 ├─ SettingsError     a setting is missing, misspelt or unsound
 ├─ SourceError       a source cannot be read: no such file, no permission, no such bucket or queue
 ├─ BrokerError       Kafka does not answer, or refuses
 ├─ ClickHouseError   ClickHouse does not answer, or refuses
 └─ InstanceError     an embedded instance cannot start: its data directory is in use, not writable, full
"""

from __future__ import annotations


class UserError(Exception):
    """One sentence that says what is wrong and what to do."""

    exit_code = 1


class SettingsError(UserError):
    """A setting is missing, misspelt or unsound."""

    exit_code = 2


class SourceError(UserError):
    """A source cannot be read."""

    exit_code = 3


class BrokerError(UserError):
    """Kafka does not answer, or refuses."""

    exit_code = 4


class ClickHouseError(UserError):
    """ClickHouse does not answer, or refuses."""

    exit_code = 5


class InstanceError(UserError):
    """An embedded instance cannot start."""

    exit_code = 6
