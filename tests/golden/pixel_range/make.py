#!/usr/bin/env python3
"""Makes signed_f4.npy beside this script: what diffusers' VaeImageProcessor makes of 0..255.

pil_to_numpy is np.array(image).astype(np.float32) / 255.0, normalize is 2.0 * images - 1.0; torch
and numpy round float32 alike (numpy 2.4.6).
"""
import pathlib

import numpy as np

pixels = np.arange(256, dtype=np.uint8).astype(np.float32) / 255.0
signed = 2.0 * pixels - 1.0
assert signed.dtype == np.float32
np.save(pathlib.Path(__file__).parent / "signed_f4.npy", signed)
