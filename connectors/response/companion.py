"""`ResponseCompanion`: the response, beside the delivery of alarms, in whoever holds partition 0 of `ses.alarms`.

It runs whether or not anything is paused by itself: pauses that people made expire, too.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from connectors.notify.actions import ActionLog
from connectors.response.responder import Numbers, Responder
from connectors.response.ses import Ses
from connectors.response.topics import Recorder, Topics
from connectors.response.view import actions
from schemas.blocks import SINGLE_OBJECT, Framing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from connectors.clickhouse.sql import Target
    from connectors.response.responder import Patience
    from connectors.response.settings import Response
    from connectors.settings import Kafka

_SLACK_MS: Final = 60_000
"""Clocks of those who write and of Kafka differ."""


class ResponseCompanion:
    """See `connectors.notify.companions.Companion`."""

    name: Final = "response"

    def __init__(
        self,
        kafka: Kafka,
        settings: Response,
        *,
        max_age_s: float,
        memory: Target | None = None,
        framing: Framing = SINGLE_OBJECT,
        clock: Callable[[], float] = time.time,
        patience: Patience | None = None,
    ) -> None:
        """Connects nowhere yet.

        Args:
            kafka: where.
            settings: what is paused by itself.
            max_age_s: transitions older than that pause nothing.
            memory: of an embedded instance, whose Kafka forgets: its ClickHouse.
            framing: how blocks name their schema.
            clock: seconds since the epoch.
            patience: when something is tried again.
        """
        self._kafka = kafka
        self._settings = settings
        self._max_age_s = max_age_s
        self._memory = memory
        self._framing = framing
        self._clock = clock
        self._patience = patience
        self.numbers = Numbers()

    def run(self, stop: threading.Event) -> None:
        """Respond until told to stop. Begins with what was done before, and acts only once it knows all of that.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
            ClickHouseError: it does not answer, and is the memory.
        """
        with (
            closing(Ses(self._settings)) as ses,
            closing(ActionLog(self._kafka, self._framing)) as log,
            closing(Topics(self._kafka, self._framing)) as topics,
        ):
            responder = Responder(
                self._settings,
                ses,
                Recorder(log, self._memory),
                self._clock,
                max_age_s=self._max_age_s,
                patience=self._patience,
            )
            self.numbers = responder.numbers
            for row in actions(self._memory) if self._memory else ():
                responder.learn(row)
            topics.start(alarms_since=round((self._clock() - self._max_age_s) * 1000) - _SLACK_MS)
            caught_up = False
            while not stop.is_set():
                topics.poll(responder.learn, responder.hear)
                caught_up = caught_up or topics.caught_up
                if caught_up:
                    responder.step()
