"""Images that come in: any object or file becomes a `Source`, decoded within bounds; nothing here knows a result."""
