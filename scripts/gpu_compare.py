#!/usr/bin/env python3
"""What PyTorch makes of the encoder that latentd computes: the same graph, on the same GPU, in the same run.

    gpu_compare.py check  GOLDENS            the definition below against diffusers' outputs, on the CPU
    gpu_compare.py errors OUT.jsonl          float16 and bfloat16 against float32, with seeded weights
    gpu_compare.py eager  OUT.jsonl          speed and memory: eager, contiguous and channels_last
    gpu_compare.py compile OUT.jsonl         torch.compile max-autotune with channels_last, at four shapes
    gpu_compare.py table  BENCH.jsonl OUT.jsonl...     both side by side, as text

The encoder is written out here because a machine may have PyTorch and no diffusers; where diffusers is found, eager and
compile use its AutoencoderKL. Lines are appended as soon as they are known.
"""
import json
import math
import os
import struct
import sys
import time

SHAPES = ((256, 1), (256, 32), (512, 1), (512, 8), (1024, 1), (1024, 4), (2048, 1))
COMPILED = ((512, 8), (1024, 4), (2048, 1), (256, 32))  # the most telling first: a machine may be slow to compile
COMPILE_SECONDS = 400  # after which no other shape is begun
SD = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32,
      "latent_channels": 4, "use_quant_conv": True, "mid_block_add_attention": True}


def definition():
    """The module, named as diffusers names it, so that its state_dict is a file's."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Resnet(nn.Module):
        def __init__(self, cin, cout, groups):
            super().__init__()
            self.norm1 = nn.GroupNorm(groups, cin, eps=1e-6)
            self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
            self.norm2 = nn.GroupNorm(groups, cout, eps=1e-6)
            self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
            self.conv_shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else None

        def forward(self, x):
            h = self.conv1(F.silu(self.norm1(x)))
            h = self.conv2(F.silu(self.norm2(h)))
            return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h

    class Down(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.conv = nn.Conv2d(c, c, 3, stride=2)

        def forward(self, x):
            return self.conv(F.pad(x, (0, 1, 0, 1)))

    class Block(nn.Module):
        def __init__(self, cin, cout, layers, groups, last):
            super().__init__()
            self.resnets = nn.ModuleList(Resnet(cin if j == 0 else cout, cout, groups) for j in range(layers))
            self.downsamplers = None if last else nn.ModuleList([Down(cout)])

        def forward(self, x):
            for r in self.resnets:
                x = r(x)
            return x if self.downsamplers is None else self.downsamplers[0](x)

    class Attention(nn.Module):
        def __init__(self, c, groups):
            super().__init__()
            self.group_norm = nn.GroupNorm(groups, c, eps=1e-6)
            self.to_q, self.to_k, self.to_v = nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, c)
            self.to_out = nn.ModuleList([nn.Linear(c, c)])

        def forward(self, x):
            n, c, h, w = x.shape
            t = self.group_norm(x.view(n, c, h * w) if x.is_contiguous() else x.reshape(n, c, h * w)).transpose(1, 2)
            q, k, v = self.to_q(t)[:, None], self.to_k(t)[:, None], self.to_v(t)[:, None]
            t = self.to_out[0](F.scaled_dot_product_attention(q, k, v)[:, 0])
            return x + t.transpose(1, 2).reshape(n, c, h, w)

    class Mid(nn.Module):
        def __init__(self, c, groups, attention):
            super().__init__()
            self.resnets = nn.ModuleList([Resnet(c, c, groups), Resnet(c, c, groups)])
            self.attentions = nn.ModuleList([Attention(c, groups)]) if attention else None

        def forward(self, x):
            x = self.resnets[0](x)
            if self.attentions is not None:
                x = self.attentions[0](x)
            return self.resnets[1](x)

    class Encoder(nn.Module):
        def __init__(self, config):
            super().__init__()
            channels, groups = config["block_out_channels"], config["norm_num_groups"]
            self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
            self.down_blocks = nn.ModuleList(
                Block(channels[max(i - 1, 0)], c, config["layers_per_block"], groups, i == len(channels) - 1)
                for i, c in enumerate(channels))
            self.mid_block = Mid(channels[-1], groups, config.get("mid_block_add_attention", True))
            self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=1e-6)
            self.conv_out = nn.Conv2d(channels[-1], 2 * config["latent_channels"], 3, padding=1)

        def forward(self, x):
            x = self.conv_in(x)
            for block in self.down_blocks:
                x = block(x)
            return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))

    class Vae(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.encoder = Encoder(config)
            moments = 2 * config["latent_channels"]
            self.quant_conv = nn.Conv2d(moments, moments, 1) if config.get("use_quant_conv", True) else None

        def forward(self, x):
            x = self.encoder(x)
            return x if self.quant_conv is None else self.quant_conv(x)

    torch.set_grad_enabled(False)
    return Vae


def seeded(vae):
    """Weights that keep activations near 1."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for name, p in vae.named_parameters():
        norm = "norm" in name and name.endswith("weight")
        scale = 0.2 if norm else 0.1 if name.endswith("bias") else 1.6 / math.sqrt(p[0].numel())
        p.copy_((2 * torch.rand(p.shape, generator=generator) - 1) * scale + (1 if norm else 0))
    return vae.eval()


def sd_vae():
    """(name, module pixels -> moments): diffusers' own where it is installed."""
    try:
        from diffusers import AutoencoderKL
    except ImportError:
        return "torch", seeded(definition()(SD))
    import torch

    class Moments(torch.nn.Module):
        def __init__(self, vae):
            super().__init__()
            self.vae = vae

        def forward(self, x):
            return self.vae.encode(x).latent_dist.parameters

    torch.set_grad_enabled(False)
    n = len(SD["block_out_channels"])
    vae = AutoencoderKL(block_out_channels=SD["block_out_channels"], layers_per_block=2, latent_channels=4,
                        down_block_types=("DownEncoderBlock2D",) * n, up_block_types=("UpDecoderBlock2D",) * n)
    vae.decoder = torch.nn.Identity()
    return "diffusers", Moments(seeded(vae))


def safetensors(path):
    import torch

    types = {"F32": torch.float32, "F16": torch.float16}
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = bytearray(f.read())
    header.pop("__metadata__", None)
    return {name: torch.frombuffer(data, dtype=types[t["dtype"]], offset=t["data_offsets"][0],
                                   count=max(1, math.prod(t["shape"]))).reshape(t["shape"])
            for name, t in header.items()}


def check(goldens):
    """Exit status 1 where the definition is not diffusers'."""
    worst = 0
    for name in ("kl_sd", "kl_flux", "kl_two_blocks"):
        folder = os.path.join(goldens, name)
        with open(os.path.join(folder, "config.json")) as f:
            vae = definition()(json.load(f)).eval()
        vae.load_state_dict({k: v for k, v in safetensors(
            os.path.join(folder, "diffusion_pytorch_model.safetensors")).items()
            if k.startswith(("encoder.", "quant_conv."))})
        expected = safetensors(os.path.join(folder, "expected.safetensors"))
        for key in [k for k in expected if k.startswith("input.")]:
            error = (vae(expected[key]) - expected[key.replace("input.", "moments.")]).abs().max().item()
            print(f"{'ok' if error <= 1e-4 else 'FAILED'} {name} {key}: max-abs {error:.2g}")
            worst = max(worst, error)
    return 0 if worst <= 1e-4 else 1


def put(path, **line):
    text = json.dumps(line)
    print(text, flush=True)
    with open(path, "a") as f:
        f.write(text + "\n")


def median_seconds(run, budget):
    """Of whole calls, after three; at least five, about @budget seconds."""
    import torch

    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times, began = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - began < budget:
        t = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - t)
    return sorted(times)[len(times) // 2]


def measure(path, title, source, module, size, batch, dtype, channels_last):
    """Bytes on the host to moments on the host, as bench_cuda does."""
    import torch

    host = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8).pin_memory()
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def run():
        x = host.cuda(non_blocking=True).to(dtype).div_(127.5).sub_(1).contiguous(memory_format=layout)
        return module(x).cpu()

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        seconds = median_seconds(run, 2)
        there = host.cuda().to(dtype).contiguous(memory_format=layout)
        alone = median_seconds(lambda: module(there), 1)
    except RuntimeError as e:  # out of memory, or a library that cannot: the others are measured all the same
        put(path, what=title, source=source, size=size, batch=batch, error=str(e).split("\n")[0][:200])
        return
    put(path, what=title, source=source, size=size, batch=batch, dtype=str(dtype).replace("torch.", ""),
        images_per_second=round(batch / seconds, 2), latency_ms=round(seconds * 1000, 3),
        compute_per_second=round(batch / alone, 2),
        peak_mb=round(torch.cuda.max_memory_allocated() / 1e6, 1))


def eager(path):
    import torch

    source, vae = sd_vae()
    vae = vae.cuda()
    torch.backends.cudnn.benchmark = True
    for dtype in (torch.float16, torch.bfloat16):
        vae = vae.to(dtype)
        for channels_last in (False, True):
            vae = vae.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
            for size, batch in SHAPES if dtype == torch.float16 else COMPILED:
                title = "channels_last" if channels_last else "eager"
                measure(path, title, source, vae, size, batch, dtype, channels_last)


def compiled(path):
    import torch

    source, vae = sd_vae()
    vae = vae.cuda().half().to(memory_format=torch.channels_last)
    torch.backends.cudnn.benchmark = True
    started = time.perf_counter()
    for size, batch in COMPILED:
        began = time.perf_counter()
        if began - started > COMPILE_SECONDS:
            put(path, what="compile", source=source, size=size, batch=batch, error="no time left")
            continue
        torch.compiler.reset()
        module = torch.compile(vae, mode="max-autotune")
        try:
            module(torch.zeros(batch, 3, size, size, device="cuda", dtype=torch.float16)
                   .contiguous(memory_format=torch.channels_last))
        except Exception as e:  # a compiler may fail in any way; the others are measured all the same
            put(path, what="compile", source=source, size=size, batch=batch, error=str(e)[:200])
            continue
        torch.cuda.synchronize()
        put(path, what="compile_time", size=size, batch=batch, seconds=round(time.perf_counter() - began, 1))
        measure(path, "compile", source, module, size, batch, torch.float16, True)


def errors(path):
    import torch

    source, vae = sd_vae()
    vae = vae.cuda()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    x = torch.nn.functional.interpolate(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)),
                                        size=512, mode="bicubic").cuda() * 2 - 1
    want = vae(x)[:, :4]
    for dtype in (torch.float16, torch.bfloat16):
        got = vae.to(dtype)(x.to(dtype))[:, :4].float()
        put(path, what="error", source=source, dtype=str(dtype).replace("torch.", ""), size=512,
            relative_rms=((got - want).pow(2).mean() / want.pow(2).mean()).sqrt().item())
        vae = vae.float()


def lines(path):
    if not os.path.exists(path):
        return []
    found = []
    with open(path, errors="replace") as f:
        for line in f:
            try:
                found.append(json.loads(line))
            except ValueError:  # what else the programs say, and a line that was cut off
                pass
    return [o for o in found if isinstance(o, dict)]


def table(bench, others):
    """
    Images a second and how many times as fast latentd is, of PyTorch's whole calls or of its computing alone, whichever
    is faster; peak memory is maps, workspace and weights.
    """
    rates = {}
    for path in others:
        for o in lines(path):
            if o.get("what") in ("eager", "channels_last", "compile") and o.get("dtype") == "float16" \
                    and "images_per_second" in o:
                rates[o["what"], o["size"], o["batch"]] = o
    print(f"{'size':>5} {'batch':>5} {'latentd/s':>10} {'TFLOP/s':>8} {'MB':>7}"
          f" {'eager/s':>9} {'x':>5} {'MB':>7} {'ch.last/s':>9} {'x':>5} {'compile/s':>9} {'x':>5}")
    for b in lines(bench):
        if "float16" not in b.get("engine", "") or "bfloat16" in b["engine"] or b["width"] != b["height"]:
            continue
        text = (f"{b['width']:5} {b['batch']:5} {b['images_per_second']:10.1f} {b['tflops']:8.0f}"
                f" {b['arena_mb'] + b['workspace_mb'] + b['weights_mb']:7.0f}")
        for what in ("eager", "channels_last", "compile"):
            o = rates.get((what, b["width"], b["batch"]))
            rate = max(o["images_per_second"], o.get("compute_per_second", 0)) if o else None
            text += f" {rate:9.1f} {b['images_per_second'] / rate:5.2f}" if rate else f" {'-':>9} {'-':>5}"
            if what == "eager":
                text += f" {o['peak_mb']:7.0f}" if rate else f" {'-':>7}"
        print(text)


def main():
    command = sys.argv[1] if len(sys.argv) > 2 else ""
    if command == "check":
        return check(sys.argv[2])
    if command == "table":
        return table(sys.argv[2], sys.argv[3:])
    if command in ("errors", "eager", "compile"):
        return {"errors": errors, "eager": eager, "compile": compiled}[command](sys.argv[2])
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
