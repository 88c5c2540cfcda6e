#!/usr/bin/env python3
"""Makes expected.safetensors: what diffusers' AutoencoderTiny encodes and decodes, in float32, with weights from a formula
(tests/golden/kl_decoder/make_decoded.py, kl_testing.c).

    pip install torch diffusers safetensors
    python3 make_tiny.py

Tensors: input.WxH [1, 3, H, W] in [-1, 1] and encoded.WxH; latent.hxw [1, 4, h, w] and decoded.hxw, not clamped.
"""
import os, sys
import numpy as np, torch
from diffusers import AutoencoderTiny
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "kl_decoder"))
from make_decoded import tensor, uniform


def main():
    vae, out = AutoencoderTiny().eval(), {}
    vae.load_state_dict({k: tensor(k, tuple(v.shape)) for k, v in vae.state_dict().items()})
    with torch.no_grad():
        for width, height in ((40, 24), (35, 21), (8, 8)):
            x = torch.from_numpy(uniform("input.%dx%d" % (width, height), 3 * width * height).astype(np.float32)).reshape(1, 3, height, width)
            out["input.%dx%d" % (width, height)] = x.numpy()
            out["encoded.%dx%d" % (width, height)] = vae.encode(x).latents.numpy()
        for size in ((3, 5), (1, 1)):
            z = torch.from_numpy(uniform("latent.%dx%d" % size, 4 * size[0] * size[1]).astype(np.float32) * 4).reshape(1, 4, *size)
            out["latent.%dx%d" % size] = z.numpy()
            out["decoded.%dx%d" % size] = vae.decode(z).sample.numpy()
    save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, os.path.join(HERE, "expected.safetensors"))


if __name__ == "__main__":
    main()
