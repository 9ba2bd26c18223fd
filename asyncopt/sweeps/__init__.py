"""Sweeps: jobs that differ only in numbers run as one program, here or elsewhere."""
