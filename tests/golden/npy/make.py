#!/usr/bin/env python3
"""Makes the .npy files beside this script (numpy 2.4.6); with an argument, makes them there."""
import pathlib
import sys

import numpy as np

here = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
arrays = {
    "f4_2x3": np.array([[0, 1.5, -2], [3.25, 1e-40, 65504]], np.float32),
    "f2_1x2x3": np.array([[[0, 1.5, -2], [3.25, 6e-8, 65504]]], np.float16),
    "u1_5": np.array([0, 1, 127, 128, 255], np.uint8),
    "i8_2": np.array([-1, 1 << 62], np.int64),
    "f8_3": np.array([-0.1, 1e300, 5e-324]),
    "f4_scalar": np.array(7.5, np.float32),
    "f4_empty": np.zeros((0, 4), np.float32),
    # the shape of our latents: the header takes 128 bytes
    "f2_4x2x2": np.arange(16, dtype=np.float16).reshape(4, 2, 2),
}
refused = {
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">f4"),
    "c8": np.arange(3, dtype=np.complex64),
    "record": np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]),
    "seven_dims": np.zeros((1,) * 7, np.float32),
}
for name, array in arrays.items():
    np.save(here / f"{name}.npy", array)
for name, array in refused.items():
    np.save(here / f"refused_{name}.npy", array)
with open(here / "refused_version_2.npy", "wb") as f:
    np.lib.format.write_array(f, np.zeros(2, np.float32), version=(2, 0))
