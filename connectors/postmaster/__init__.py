"""Google Postmaster Tools: Gmail's own daily figures of the domains that send, and of their Feedback-IDs."""
