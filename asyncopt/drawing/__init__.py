"""The look of all figures, and the figures of one table: a run's, many runs', a trace's. It reads no files."""
