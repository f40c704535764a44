"""Received mail: from the bytes of a message to what is known of it. Pure; bodies stay where they are."""
