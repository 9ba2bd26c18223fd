"""From a configuration to a run on disk."""
