#!/usr/bin/env python3
"""Writes plain.npz and compressed.npz with numpy, as sd-scripts has such files (made with numpy 2.4.6)."""

import os

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
ARRAYS = {
    "latents": numpy.arange(8, dtype=numpy.float32).reshape(2, 2, 2) / 4,
    "original_size": numpy.array([1234, 567]),
    "crop_ltrb": numpy.array([0, 1.5, 640, 478.25]),
}
numpy.savez(os.path.join(HERE, "plain.npz"), **ARRAYS)
numpy.savez_compressed(os.path.join(HERE, "compressed.npz"), **ARRAYS)
