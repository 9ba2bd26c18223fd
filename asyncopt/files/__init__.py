"""Files on disk, written whole or not at all: arrays (`npz`), run folders (`records`), and `fingerprints`.

This room knows nothing of runs but what it is handed: plain values and tables. It is used by all others.
"""
