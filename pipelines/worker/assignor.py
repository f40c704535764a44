"""`Assignor`: Faust's partition assignor, that never assigns less than everything.

Faust leaves out a topic for which its metadata name no partitions (a broker that has just started may list none yet)
and says so in its log only: the group would settle on reading nothing, and wait for ever. Here that ends the worker;
started again, it asks again.
"""

from __future__ import annotations

from typing import Any

from faust.assignor.partition_assignor import PartitionAssignor

from pipelines.worker.errors import TopicsError


class Assignor(PartitionAssignor):  # type: ignore[misc]
    """Assigns every topic of the app, or none."""

    def assign(self, cluster: Any, member_metadata: Any) -> Any:
        """Assign partitions to the members of the group; called in the member that leads it.

        Raises:
            TopicsError: when the metadata name no partitions for a topic of ours.
        """
        missing = sorted(topic for topic in self.app.topics_read if not cluster.partitions_for_topic(topic))
        if missing:
            raise TopicsError(
                f"Kafka lists no partitions for {', '.join(missing)}; the worker ends, to ask again."
            )
        return super().assign(cluster, member_metadata)
