"""Sending received mail on, with links for its attachments: what is decided and built. Pure; docs/distribution.md."""
