"""Contents of attachments, each once, under the SHA-256 of its bytes: in S3, or in a directory. docs/attachments.md."""
