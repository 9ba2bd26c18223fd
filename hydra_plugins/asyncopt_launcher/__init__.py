"""Hydra's launcher ``asyncopt_vectorized``: a sweep as few programs, here or on a cluster."""
