"""From a configuration to a run on disk: `task` (checked values), `build` (objects), `execute` (results), `facts`.

Only this room and those above it know Hydra.
"""
