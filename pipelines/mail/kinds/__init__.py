"""Of which kind a received mail is: `kind_of`."""

from pipelines.mail.kinds.kind import Kind
from pipelines.mail.kinds.telling import kind_of

__all__ = ["Kind", "kind_of"]
