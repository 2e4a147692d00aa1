"""Engines: the same knobs through somebody else's trainer; the same kind of Run comes back."""
