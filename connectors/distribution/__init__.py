"""Received mail sent on through SES, with links in place of its attachments; docs/distribution.md."""
