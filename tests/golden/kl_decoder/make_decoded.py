#!/usr/bin/env python3
"""Makes NAME.safetensors of this folder: what diffusers' AutoencoderKL decodes, in float32, with the configs of
tests/golden/NAME and weights from a formula (kl_testing.c has the same one), and kl_decoder_names.tsv: the names of a
decoder's tensors, LDM's as diffusers' own converter reads them.

    pip install torch diffusers safetensors
    python3 make_decoded.py

Tensors of a file: latent.HxW [1, C, h, w], decoded.HxW [1, 3, H, W] (not clamped), and for one size
stage.HxW.MODULE, the output of each module.
"""
import json, os
import numpy as np, torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
# config: sizes of latents, the one with stages
CASES = {"kl_sd": [(3, 2), (5, 9), (1, 1)], "kl_flux": [(7, 3)], "kl_flux2": [(6, 10)], "kl_two_blocks": [(5, 12), (25, 19)],
         "kl_no_attention": [(4, 5)], "kl_sdsize": [(8, 5)]}
STAGES = ("kl_sd", (3, 2))


def fnv1a(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & (2**64 - 1)
    return h


def uniform(name, n):
    """n doubles in [-1, 1): splitmix64 of the name's hash and the index"""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + np.arange(n, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return 2.0 * ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53) - 1.0


def tensor(name, shape):
    v = uniform(name, int(np.prod(shape)))
    if "norm" in name and name.endswith("weight"):
        w = 1.0 + 0.2 * v
    elif name.endswith("bias"):
        w = 0.1 * v
    else:
        w = v * 1.6 / float(np.prod(shape[1:])) ** 0.5
    return torch.from_numpy(w.astype(np.float32).reshape(shape))


def model(name):
    config = json.load(open(os.path.join(HERE, "..", name, "config.json")))
    vae = (AutoencoderKLFlux2 if "Flux2" in config["_class_name"] else AutoencoderKL).from_config(config).eval()
    state = vae.state_dict()
    for key in state:
        if key.startswith(("decoder.", "post_quant_conv.")):
            state[key] = tensor(key, tuple(state[key].shape))
    vae.load_state_dict(state)
    return vae


def decode(vae, size, stages):
    out, hooks = {}, []
    c = vae.config.latent_channels
    z = torch.from_numpy(uniform("latent.%dx%d" % size, c * size[0] * size[1]).astype(np.float32) * 2).reshape(1, c, *size)
    key = "%dx%d" % size

    def keep(name):
        def hook(_, __, y):
            out["stage.%s.%s" % (key, name)] = y.detach().numpy().copy()
        return hook
    for name, module in vae.decoder.named_modules() if stages else []:
        parts = name.split(".")
        if name in ("conv_in", "mid_block", "conv_norm_out", "conv_out") or parts[-2:-1] in (["resnets"], ["attentions"], ["up_blocks"]):
            hooks.append(module.register_forward_hook(keep(name)))
    with torch.no_grad():
        y = vae.decode(z).sample
    for h in hooks:
        h.remove()
    out["latent." + key], out["decoded." + key] = z.numpy(), y.numpy()
    return out


def ldm_name(key, blocks):
    """by hand; names() holds it against diffusers"""
    for a, b in (("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"), ("conv_norm_out", "norm_out"),
                 ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"), ("mid_block.attentions.0.to_q", "mid.attn_1.q"),
                 ("mid_block.attentions.0.to_k", "mid.attn_1.k"), ("mid_block.attentions.0.to_v", "mid.attn_1.v"),
                 ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"), ("conv_shortcut", "nin_shortcut")):
        key = key.replace("decoder." + a, "decoder." + b) if a != "conv_shortcut" else key.replace(a, b)
    parts = key.split(".")
    if parts[1] == "up_blocks":
        parts[1:3] = ["up", str(blocks - 1 - int(parts[2]))]
        parts = [{"resnets": "block", "upsamplers": "upsample"}.get(p, p) for p in parts]
        if parts[3] == "upsample":
            del parts[4]
    return ".".join(parts)


def names():
    vae = model("kl_sd")
    keys = sorted(k for k in vae.state_dict() if k.startswith(("decoder.", "post_quant_conv.")))
    blocks = len(vae.config.block_out_channels)
    marked = {ldm_name(k, blocks): torch.full((1, 1, 1, 1) if "attn" in ldm_name(k, blocks) and k.endswith("weight") and "norm" not in k else (1,), float(i))
              for i, k in enumerate(keys)}
    back = convert_ldm_vae_checkpoint({"first_stage_model." + k: v for k, v in marked.items()}, dict(vae.config))
    assert {k: int(v.flatten()[0]) for k, v in back.items()} == {k: i for i, k in enumerate(keys)}, "not as diffusers reads it"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    rows = []
    for k in keys:
        was = k
        for a, b in old.items():
            was = was.replace("attentions.0." + a + ".", "attentions.0." + b + ".")
        rows.append("\t".join((k, ldm_name(k, blocks), was)))
    with open(os.path.join(HERE, "..", "kl_names.tsv")) as f:
        encoder = [line for line in f.read().splitlines() if not line.startswith(("decoder.", "post_quant_conv."))]
    with open(os.path.join(HERE, "..", "kl_names.tsv"), "w") as f:
        f.write("\n".join(encoder + rows) + "\n")


def main():
    torch.set_num_threads(2)
    names()
    for name, sizes in CASES.items():
        vae, out = model(name), {}
        for size in sizes:
            out.update(decode(vae, size, (name, size) == STAGES))
        save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, os.path.join(HERE, name + ".safetensors"))


if __name__ == "__main__":
    main()
