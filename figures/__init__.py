"""The gallery: one sweep and one function that draws it for each figure. ``python -m figures`` makes all of it."""
