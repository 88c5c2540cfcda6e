"""An AutoencoderTiny whose numbers anybody can check: its encoder gives the mean of each square of 8x8 pixels as red, green
and blue in [0, 1], its decoder paints the square in that colour. All other weights are zero, so every layer is there and
runs. Files in diffusers' and in the original naming, as folder, both parts in one file, or one part."""

import json
import os
import struct

WIDTH, POOL = 64, 256


def conv(out, inside, cells):
    """A 3x3 kernel: cells {(out, in, row, column): value}."""
    data = bytearray(2 * out * inside * 9)
    for (o, i, y, x), value in cells.items():
        struct.pack_into("<e", data, 2 * (((o * inside + i) * 3 + y) * 3 + x), value)
    return [out, inside, 3, 3], bytes(data)


def bias(n):
    return [n], bytes(2 * n)


def copying(out, inside, value=1.0):
    return conv(out, inside, {(c, c, 1, 1): value for c in range(3)})


def halving(out, inside):
    """The mean of each 2x2 pixels."""
    return conv(out, inside, {(c, c, y, x): 0.25 for c in range(3) for y in (1, 2) for x in (1, 2)})


def block(tensors, index):
    for part in (0, 2, 4):
        tensors[f"{index}.conv.{part}.weight"] = conv(WIDTH, WIDTH, {})
        tensors[f"{index}.conv.{part}.bias"] = bias(WIDTH)


def pool(tensors, index):
    tensors[f"{index}.pool.0.weight"] = [POOL, WIDTH, 1, 1], bytes(2 * POOL * WIDTH)
    tensors[f"{index}.pool.1.weight"] = bias(POOL)
    tensors[f"{index}.pool.1.bias"] = bias(POOL)
    tensors[f"{index}.pool.3.weight"] = [WIDTH, POOL, 1, 1], bytes(2 * POOL * WIDTH)


def network(modules, make):
    """{"3.conv.0.weight": (shape, bytes)} of a sequence of letters as tiny_model.h has them."""
    tensors = {}
    for index, letter in enumerate(modules):
        if letter == "b":
            block(tensors, index)
        elif letter in "cdDn":
            shape, data = make(index, letter)
            tensors[f"{index}.weight"] = shape, data
            if letter in "cD":
                tensors[f"{index}.bias"] = bias(shape[0])
    return tensors


def encoder(channels=4, modules="cbdbbbdbbbdbbbc"):
    last = len(modules) - 1

    def make(index, letter):
        if modules[0] == "D" and index < 3:
            return halving(32, 3) if index == 0 else halving(WIDTH, 32)
        inside, out = 3 if index == 0 else WIDTH, channels if index == last else WIDTH
        return halving(out, inside) if letter == "d" else copying(out, inside)

    return network(modules, make)


def decoder(channels=4):
    modules = "tcrbbbunbbbunbbbunbc"

    def make(index, _letter):
        return copying(3 if index == 19 else WIDTH, channels if index == 1 else WIDTH)

    return network(modules, make)


def write_tensors(path, tensors):
    header, at = {}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, data in tensors.values():
            file.write(data)
    return path


def named(parts, diffusers=True):
    """Both parts under one naming: {"encoder": tensors, "decoder": tensors}."""
    tensors = {}
    for part, its in parts.items():
        for name, tensor in its.items():
            number, rest = name.split(".", 1)
            less = 1 if part == "decoder" and diffusers else 0
            tensors[f"{part}.{'layers.' if diffusers else ''}{int(number) - less}.{rest}"] = tensor
    return tensors


def both(channels=4):
    return {"encoder": encoder(channels), "decoder": decoder(channels)}


def folder(path, channels=4, **config):
    """A diffusers folder, as madebyollin/taesd is one."""
    write_tensors(os.path.join(path, "diffusion_pytorch_model.safetensors"), named(both(channels)))
    words = {"_class_name": "AutoencoderTiny", "act_fn": "relu", "latent_channels": channels, "scaling_factor": 1.0}
    words |= {"encoder_block_out_channels": [64] * 4, "num_encoder_blocks": [1, 3, 3, 3], "shift_factor": 0.0}
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
        json.dump({**words, **config}, file)
    return path


def single(path, channels=4, diffusers=True):
    return write_tensors(path, named(both(channels), diffusers))


def means(picture, side=8):
    """[3][h][w] of a picture (width, height, rgb): what the encoder gives."""
    width, height, data = picture
    latent = []
    for c in range(3):
        for top in range(0, height, side):
            for left in range(0, width, side):
                square = [data[3 * (y * width + x) + c] for y in range(top, top + side) for x in range(left, left + side)]
                latent.append(sum(square) / len(square) / 255)
    return latent
