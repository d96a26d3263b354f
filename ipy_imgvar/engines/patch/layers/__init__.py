"""The means "layers": the subject, cut out and grown, before the ground that was under it."""
