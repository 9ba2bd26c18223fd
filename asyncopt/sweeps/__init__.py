"""Sweeps: jobs that differ only in numbers run as one program (`plan`, `batches`), here or elsewhere (`engines`)."""
