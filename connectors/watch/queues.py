"""`Queues`: how much waits in the SQS queues, and for how long, as far as AWS tells.

SQS itself gives counts alone (GetQueueAttributes). The age of the oldest message is a metric of CloudWatch
(`AWS/SQS`, `ApproximateAgeOfOldestMessage`, a minute or two late), which a role may or may not be allowed to read
(`cloudwatch:GetMetricStatistics`). To receive messages in order to look at them is out of the question: every receipt
brings a message nearer to its queue's dead-letter queue.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from connectors.aws import Access, error_code, is_denied, session, source_error
from connectors.sources.sqs import region_of
from pipelines.alarms.backlog import Standing

if TYPE_CHECKING:
    from connectors.settings import SqsQueue

_PERIOD_S: Final = 60
_BACK: Final = timedelta(minutes=10)
"""How far back CloudWatch is asked: its last value may be some minutes old."""
_ASK_AGAIN_MS: Final = 60_000
_DENIED_AGAIN_MS: Final = 3_600_000
"""How long after a refusal, or no answer, CloudWatch is asked again: somebody may have let us. A private network often
has a way to SQS and none to CloudWatch, and each try would hold the watch up."""
_PATIENCE: Final = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
)


@dataclass(frozen=True, slots=True)
class Depth:
    """Of a queue, at one look."""

    waiting: int
    """Messages that nobody has received, about."""
    standing: int | None
    """The least of that at any look of the last so many seconds; None: not known for so long yet."""
    age_s: float | None
    """Of the oldest message, as CloudWatch said last; None: it says nothing, or may not be asked."""


class Queue:
    """One queue; for one thread."""

    def __init__(self, settings: SqsQueue, span_s: float) -> None:
        """Connects when first asked; `span_s`: of `Depth.standing`."""
        self._settings = settings
        self._access = Access(
            region=settings.region or region_of(settings.url),
            role_arn=settings.role_arn,
            endpoint_url=settings.endpoint_url,
        )
        self.name = urlsplit(settings.url).path.rpartition("/")[2] or settings.url
        self.span_s = span_s
        self._standing = Standing(span_s)
        self._sqs: Any = None
        self._cloudwatch: Any = None
        self._ask_after = 0
        self._age_s: float | None = None
        self.age_trouble = ""
        """Why CloudWatch does not tell; empty when it does."""

    def look(self, now: int) -> Depth:
        """How it is at `now` (ms).

        Raises:
            SourceError: SQS does not answer, or refuses.
        """
        try:
            if self._sqs is None:
                self._sqs = self._client("sqs")
            answer = self._sqs.get_queue_attributes(
                QueueUrl=self._settings.url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        except (BotoCoreError, ClientError, ValueError) as error:
            raise source_error(error, f"queue {self._settings.url}") from error
        waiting = int(answer["Attributes"]["ApproximateNumberOfMessages"])
        if not waiting:
            # Nothing waits, so nothing is old, whatever CloudWatch said a minute ago.
            self._age_s = None
        elif now >= self._ask_after:
            self._ask_after = now + _ASK_AGAIN_MS
            self._age_s = self._ask_age(now)
        return Depth(waiting, self._standing.look(now, waiting), self._age_s)

    def _client(self, service: str) -> Any:
        make: Any = session(self._access).client
        return make(service, endpoint_url=self._access.endpoint_url or None, config=_PATIENCE)

    def _ask_age(self, now: int) -> float | None:
        end = datetime.fromtimestamp(now / 1000, UTC)
        try:
            if self._cloudwatch is None:
                self._cloudwatch = self._client("cloudwatch")
            answer = self._cloudwatch.get_metric_statistics(
                Namespace="AWS/SQS",
                MetricName="ApproximateAgeOfOldestMessage",
                Dimensions=[{"Name": "QueueName", "Value": self.name}],
                StartTime=end - _BACK,
                EndTime=end,
                Period=_PERIOD_S,
                Statistics=["Maximum"],
            )
        except (BotoCoreError, ClientError, ValueError) as error:
            self.age_trouble = str(source_error(error, f"the age of queue {self.name} in CloudWatch"))
            if is_denied(error) or not error_code(error):
                self._ask_after = now + _DENIED_AGAIN_MS
            return None
        self.age_trouble = ""
        points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
        return float(points[-1]["Maximum"]) if points else None
