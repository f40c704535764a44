"""Kafka topics. All have the same number of partitions, so that Faust can co-partition them."""

from __future__ import annotations

from typing import Final

EVENTS: Final = "ses.events"
"""Blocks of `SesEvent`, partitioned by `message_id`."""

COUNTS: Final = "ses.counts"
"""Blocks of `CountDelta` and of `RecountRow`, partitioned by (dimension, value)."""

RECOUNTS: Final = "ses.recounts"
"""Blocks of `RecountRequest`, partitioned by hour."""

RATES: Final = "ses.rates"
"""Blocks of `RateRow`, partitioned like `COUNTS`."""

DEAD_LETTERS: Final = "ses.dead-letter"
"""Blocks of `DeadLetter`, any partition."""

ALARMS: Final = "ses.alarms"
"""Blocks of one `Alarm`, partitioned by (dimension, value) and compacted by the Kafka key: the alarm key, or of what
explains a transition one of its own."""

ALARM_ORDERS: Final = "ses.alarm-orders"
"""Blocks of one `AlarmOrder`, partitioned like `ALARMS`."""

ALARM_ACTIONS: Final = "ses.alarm-actions"
"""Blocks of one `AlarmAction`, partitioned like `ALARMS` and compacted by the Kafka key, which is the action's id."""

INBOUND: Final = "mail.inbound"
"""Blocks of `InboundMail`, partitioned by tenant: a conversation never leaves its tenant, so its mails meet there."""

OUTBOUND: Final = "mail.outbound"
"""Blocks of `OutboundMessage`: what a thread wants to know of each message sent; partitioned by tenant."""

THREADS: Final = "mail.threads"
"""Blocks of `ThreadMember`, partitioned by tenant."""

REPORTS: Final = "mail.reports"
"""Blocks of `DmarcRecord` and of `TlsResult`, any partition."""

FORWARDS: Final = "mail.forwards"
"""Blocks of one `MailForward`, partitioned by `mail_id` and compacted by the Kafka key, which is mail and attempt."""

ALL: Final = (
    EVENTS,
    COUNTS,
    RECOUNTS,
    RATES,
    DEAD_LETTERS,
    ALARMS,
    ALARM_ORDERS,
    ALARM_ACTIONS,
    INBOUND,
    OUTBOUND,
    THREADS,
    REPORTS,
    FORWARDS,
)

COMPACTED: Final = frozenset({ALARMS, ALARM_ACTIONS, FORWARDS})
"""Topics of which only the last record of a key needs to be kept."""

UNCOMPACTED_MS: Final = {FORWARDS: 3_600_000}
"""For how long records of a compacted topic stay as they are, where their order decides something: an intent to send a
mail must be seen by whoever else has it in mind."""

WORKER_GROUP: Final = "ses-streams-rates"
"""Consumer group (and Faust app id) of the worker."""

SINK_GROUP: Final = "ses-streams-sink"
"""Consumer group of the sink."""

RECOUNT_GROUP: Final = "ses-streams-recounts"
"""Consumer group of whoever answers recount requests: a thread beside the sink."""

EVIDENCE_GROUP: Final = "ses-streams-evidence"
"""Consumer group of whoever adds to alarms what drives them: a thread beside the sink."""

NOTIFY_GROUP: Final = "ses-streams-notify"
"""Consumer group of those that deliver alarms."""

WATCH_GROUP: Final = "ses-streams-watch"
"""Group under which the watch, beside those that deliver alarms, keeps which orders it has done; without members."""

DISTRIBUTION_GROUP: Final = "ses-streams-distribution"
"""Group under which whoever sends mails on keeps how far `mail.inbound` is read; without members."""
