"""What is done about orders: an operator acknowledges, silences or resets an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.alarms.machine import Machine, obey
from pipelines.alarms.transition import decode_orders, encode_order
from pipelines.counting.days import NEVER
from pipelines.worker.alarm_keys import Change, Place
from pipelines.worker.records import Event, Outlet, reject
from pipelines.worker.rejects import letter
from schemas.alarms import parts_of
from schemas.blocks import BlockError
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.worker.alarm_step import AlarmStep
    from pipelines.worker.numbers import Numbers
    from pipelines.worker.rejects import Message, Rejects
    from schemas.alarms import AlarmOrder
    from schemas.dead_letters import DeadLetter


class NoAlarmKey(ValueError):  # noqa: N818 - named by what it says
    """An order that is about no alarm key."""


class OrdersStep:
    """Blocks of orders in. What an order changes is told like any other change (see `AlarmStep`); then come the acks.

    Orders about signals that others evaluate are theirs. One that comes again is known again.
    """

    def __init__(self, outlet: Outlet, alarms: AlarmStep, rejects: Rejects, *, numbers: Numbers) -> None:
        """Reads nothing yet.

        Args:
            outlet: of `ses.alarm-orders`: for orders in a partition that was their key's before the topic grew.
            alarms: whose state orders change.
            rejects: counts the records that are no orders.
            numbers: where that is noted.
        """
        self._outlet = outlet
        self._alarms = alarms
        self._rejects = rejects
        self._numbers = numbers

    async def __call__(self, events: Sequence[Event]) -> None:
        """Obey a batch."""
        with self._numbers.orders.timed(len(events)):
            messages = [event.message for event in events]
            letters: dict[int, DeadLetter] = {}
            orders: list[tuple[AlarmOrder, Place]] = []
            strays: list[tuple[int, bytes]] = []
            for message in messages:
                try:
                    found = self._read(message)
                except (BlockError, NoAlarmKey) as error:
                    letters[id(message)] = letter(message, "alarm", error)
                    continue
                orders += [each for each in found if each[1].partition == message.partition]
                strays += [
                    (place.partition, encode_order(order, self._outlet.framing))
                    for order, place in found
                    if place.partition != message.partition
                ]
            await reject(messages, letters, self._rejects, self._outlet)
            self._numbers.orders.rejected += len(letters)
            await self._outlet.send(strays)
            async with self._alarms.lock:
                await self._alarms.resend()
                for order, place in orders:
                    await self._obey(order, place)

    def _read(self, message: Message) -> list[tuple[AlarmOrder, Place]]:
        found = []
        for order in decode_orders(message.value or b"", self._outlet.framing):
            key = order["alarm_key"]
            try:
                rule, dimension, value = parts_of(key)
            except ValueError:
                raise NoAlarmKey(f"{key!r} is no alarm key: it is not RULE:DIMENSION:VALUE") from None
            partition = of_key(dimension, value, self._outlet.partitions)
            found.append((order, Place(partition, rule, dimension, value)))
        return found

    async def _obey(self, order: AlarmOrder, place: Place) -> None:
        rule, before = self._alarms.keys.rule_of(place), self._alarms.machine(place)
        if rule is None and before is None:
            return
        clock = self._alarms.event_clock()
        machine, told = obey(before or Machine(), rule, order, order["time"] if clock == NEVER else clock)
        if told is not None or (before is not None and machine != before):
            await self._alarms.change([Change(place, machine, [] if told is None else [told])])
