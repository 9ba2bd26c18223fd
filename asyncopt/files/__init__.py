"""Files on disk, written whole or not at all: arrays (`npz`), run folders (`records`), and `fingerprints`.

This room is handed plain values and tables, and knows nothing else of runs. Most rooms above use it.
"""
