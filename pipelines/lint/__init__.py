"""What is worth telling a sender about how the mail is labelled; pure."""
