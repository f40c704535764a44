"""Whether an attachment bucket forgets what it should forget, by its lifecycle rules.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html
"""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from connectors.aws import error_code, source_error

_NO_RULES: Final = "NoSuchLifecycleConfiguration"
SLACK_DAYS: Final = 1
"""A content that is put again within a day is not made anew, so a rule waits for a day more."""


def warnings_of(client: Any, bucket: str, prefix: str, days: int) -> list[str]:
    """What a person should see to, a sentence each.

    Args:
        client: of S3.
        bucket: its name.
        prefix: of the contents, with a slash at its end, or empty.
        days: the retention.

    Raises:
        SourceError: S3 cannot be reached.
    """
    where = f"s3://{bucket}/{prefix}"
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
    except ClientError as error:
        if error_code(error) != _NO_RULES:
            cure = "allow s3:GetLifecycleConfiguration, or see for yourself"
            return [f"whether {where} forgets attachments cannot be told ({error_code(error)}): {cure}"]
        rules = []
    except BotoCoreError as error:
        raise source_error(error, f"the lifecycle of {where}") from error
    expiring = [each for each in rules if _applies(each, prefix) and "Days" in each.get("Expiration", {})]
    found = min((int(each["Expiration"]["Days"]) for each in expiring), default=0)
    return _judged(where, found, days)


def rule_of(prefix: str, days: int) -> dict[str, Any]:
    """The rule that is wanted, as S3's API and CLI take it."""
    return {
        "ID": "ses-streams-attachments",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": days + SLACK_DAYS},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }


def _judged(where: str, found: int, days: int) -> list[str]:
    wanted = days + SLACK_DAYS
    cure = f"give it a lifecycle rule with Expiration Days {wanted} (docs/attachments.md)"
    told = []
    if not found:
        told.append(f"no lifecycle rule of {where} expires attachments, so they are kept for ever: {cure}")
    elif found != wanted:
        than = "sooner than" if found < wanted else "later than"
        says = f"{than} inbound.attachment_days ({days}) says"
        told.append(f"the lifecycle of {where} expires attachments after {found} days, {says}: {cure}")
    return told


def _applies(rule: dict[str, Any], prefix: str) -> bool:
    """Whether a rule is in force for all that begins with the prefix."""
    chosen = rule.get("Filter", {})
    both = chosen.get("And", {})
    narrower = {"Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"} & set(chosen) or set(both) - {"Prefix"}
    begins = chosen.get("Prefix", both.get("Prefix", rule.get("Prefix", "")))
    return rule.get("Status") == "Enabled" and not narrower and prefix.startswith(begins)
