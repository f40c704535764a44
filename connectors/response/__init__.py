"""The response: pausing what an alarm is about through SES, for a while, and resuming it. Opt-in; docs/response.md."""
