"""Received mail on its way in: fetched, read, its attachments stored, its rows handed to the bridge."""
