"""`Assignor`: Faust's partition assignor, that never assigns less than everything.

Faust leaves out a topic for which its metadata name no partitions (a broker that has just started may list none yet)
and says so in its log only: the group would settle on reading nothing, and wait for ever. Here that ends the worker;
started again, it asks again. An error raised here would end nothing: aiokafka keeps it for whoever polls next, and
before the first assignment nobody does.
"""

from __future__ import annotations

from typing import Any

from faust.assignor.partition_assignor import PartitionAssignor

from pipelines.worker.errors import TopicsError


class Assignor(PartitionAssignor):  # type: ignore[misc]
    """Assigns every topic of the app, or has the worker ended (`app.lost`)."""

    def assign(self, cluster: Any, member_metadata: Any) -> Any:
        """Assign partitions to the members of the group; called in the member that leads it."""
        missing = sorted(topic for topic in self.app.topics_read if not cluster.partitions_for_topic(topic))
        if missing:
            self.app.lost = TopicsError(
                f"Kafka lists no partitions for {', '.join(missing)}: the worker ends, to be started again."
            )
        return super().assign(cluster, member_metadata)
