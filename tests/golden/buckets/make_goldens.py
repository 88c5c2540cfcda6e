"""Placements by the tools themselves, for tests/unit/test_bucket_rules.c.

    make_goldens.py TOOLS OUT

TOOLS holds a checkout of each tool, as musubi-tuner, mgds, ai-toolkit, diffusion-pipe and
novelai-aspect-ratio-bucketing; README.md here names the commits. Their own functions run; what these
import and do not need for sizes (torch, deepspeed, ...) is replaced by empty modules. Needs numpy
and Pillow.
"""

import ast
import math
import pathlib
import pickle
import random
import sys
import tempfile
import types
from unittest import mock

import numpy as np
from PIL import Image, ImageOps

COLUMNS = "resolution step w h bucket_w bucket_h resized_w resized_h crop_x crop_y".split()


def sizes(count):
    """Extremes, common formats, exact ties of aspect ratio, then random ones."""
    out = [(1, 1), (1, 2), (2, 1), (65500, 65500), (65500, 1000), (1000, 65500), (7, 5), (63, 64)]
    for w, h in [(640, 480), (800, 600), (1024, 768), (1920, 1080), (3840, 2160), (4032, 3024), (6000, 4000),
                 (1000, 1000), (512, 512), (1024, 1024), (512, 768), (832, 1216), (2048, 512), (1280, 720)]:
        out += [(w, h), (h, w)]
    # ties between two buckets, of OneTrainer's at 512 to 1376 and of others
    for w, h in [(13, 8), (9, 4), (19, 14), (4, 15), (65, 72), (17, 38), (15, 8), (17, 32), (35, 48), (43, 38),
                 (31, 8), (64, 17), (29, 9), (131, 40), (87, 280), (34, 15), (97, 26), (7, 6), (9, 8), (3, 2),
                 (31, 80), (19, 22), (18, 5)]:
        out += [(w * 40, h * 40), (h * 40, w * 40)]
    # between the thresholds of diffusion-pipe's rounded aspect ratios and of exact ones
    out += [(1768, 2500), (2500, 1768)]
    rng = random.Random(20260822)
    while len(out) < count:
        if len(out) % 3:
            out.append((rng.randint(16, 4096), rng.randint(16, 4096)))
        else:
            side = math.exp(rng.uniform(2, 9))
            aspect = math.exp(rng.gauss(0, 0.8))
            out.append((max(1, int(side * aspect)), max(1, int(side / aspect))))
    return out[:count]


def pieces(path, names, namespace):
    """Runs only the named functions, classes and assignments of a source file."""
    tree = ast.parse(path.read_text())

    def wanted(node):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return node.name in names
        return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in names

    tree.body = [node for node in tree.body if wanted(node)]
    exec(compile(tree, str(path), "exec"), namespace)
    return namespace


class Resized:
    """Stands for an image: notes the size it is resized to and the slice that is taken of it."""

    def __init__(self, size=None):
        self.size, self.box, self.crop = size, None, None

    @property
    def shape(self):
        return (self.size[1], self.size[0], 3)

    def resize(self, size, *_args, box=None, **_kw):
        self.size, self.box = tuple(size), box
        return self

    def __getitem__(self, key):
        self.crop = (key[1].start, key[0].start, key[1].stop - key[1].start, key[0].stop - key[0].start)
        return self


def musubi(tools):
    sys.path.insert(0, str(tools / "musubi-tuner/src"))
    for name in ("torch", "safetensors", "safetensors.torch", "av", "cv2"):
        sys.modules.setdefault(name, mock.MagicMock())
    with mock.patch.dict(sys.modules, {"musubi_tuner.utils.model_utils": mock.MagicMock()}):
        from musubi_tuner.dataset import architectures, bucket, media_utils
    media_utils.cv2 = types.SimpleNamespace(resize=lambda image, size, **_: image.resize(size), INTER_AREA=0)
    media_utils.np = types.SimpleNamespace(array=lambda image: image, ndarray=np.ndarray)
    media_utils.Image = types.SimpleNamespace(Image=Image.Image, fromarray=lambda image: image, LANCZOS=0)
    steps = {16: architectures.ARCHITECTURE_QWEN_IMAGE, 32: architectures.ARCHITECTURE_HIDREAM_O1}
    for resolution, step, count in [(1024, 16, 300), (1000, 32, 100), (268, 32, 100)]:
        selector = bucket.BucketSelector((resolution, resolution), architecture=steps[step])
        for w, h in sizes(count):
            bw, bh = (int(x) for x in selector.get_bucket_resolution((w, h)))
            image = Resized((w, h))
            media_utils.resize_image_to_bucket(image, (bw, bh))
            crop = image.crop or (0, 0, bw, bh)
            assert crop[2:] == (bw, bh)
            yield resolution, step, w, h, bw, bh, *image.size, crop[0], crop[1]


def onetrainer(tools):
    sys.path.insert(0, str(tools / "mgds/src"))
    torchvision = mock.MagicMock()
    for name in ("torch", "torch.utils", "torch.utils.data", "tqdm"):
        sys.modules.setdefault(name, mock.MagicMock())
    transforms = mock.MagicMock()
    sys.modules.update({"torchvision": torchvision, "torchvision.transforms": transforms})
    torchvision.transforms = transforms
    bases = {"mgds.PipelineModule": types.SimpleNamespace(PipelineModule=type("Module", (), {})),
             "mgds.pipelineModuleTypes.RandomAccessPipelineModule":
             types.SimpleNamespace(RandomAccessPipelineModule=type("RandomAccess", (), {}))}
    with mock.patch.dict(sys.modules, bases):
        from mgds.pipelineModules import AspectBucketing, ScaleCropImage
    for resolution, step, count in [(1024, 64, 300), (512, 16, 100), (512, 8, 100), (768, 64, 100), (768, 32, 100),
                                    (960, 64, 100), (1376, 16, 100)]:
        values = {"target": str(resolution), "frames": "1"}
        module = AspectBucketing.AspectBucketing(step, "size", "target", None, None, "frames", False, "scale",
                                                 "crop", "possible")
        module._get_previous_length = lambda name: 1
        module._get_previous_item = lambda variation, name, index: values[name]
        module._get_rand = lambda variation, index: random.Random(0)
        module.start(0)
        scaler = ScaleCropImage.ScaleCropImage([], "scale", "crop", "jitter", "offset")
        scaler._get_rand = lambda variation, index: random.Random(0)
        scaler._get_previous_item = lambda variation, name, index: placed.get(name, False)
        for w, h in sizes(count):
            values["size"] = (3, h, w)
            placed = module.get_item(0, 0)
            top, left = scaler.get_item(0, 0)["offset"]
            _, bh, bw = placed["crop"]
            _, rh, rw = placed["scale"]
            yield resolution, step, w, h, int(bw), int(bh), int(rw), int(rh), int(left), int(top)


def ai_toolkit(tools):
    root = tools / "ai-toolkit/toolkit"
    space = {"math": math, "TypedDict": dict, "random": random, "Dict": dict, "List": list,
             "print_acc": lambda *_: None, "Bucket": lambda w, h: types.SimpleNamespace(file_list_idx=[])}
    pieces(root / "buckets.py", {"get_bucket_for_image_size", "BucketResolution"}, space)
    pieces(root / "dataloader_mixins.py", {"BucketsMixin"}, space)
    for resolution, step, count in [(1024, 64, 300), (512, 64, 200), (512, 8, 100), (768, 32, 100)]:
        for w, h in sizes(count):
            config = types.SimpleNamespace(resolution=resolution, bucket_tolerance=step, square_crop=False, scale=1,
                                           random_crop=False)
            item = types.SimpleNamespace(width=w, height=h, dataset_config=config)
            mixin = space["BucketsMixin"]()
            mixin.__dict__.update(epoch_num=0, dataset_config=config, file_list=[item], is_audio_model=False,
                                  is_video=False, batch_size=1)
            mixin.setup_buckets(quiet=True)
            yield (resolution, step, w, h, item.crop_width, item.crop_height, item.scale_to_width,
                   item.scale_to_height, item.crop_x, item.crop_y)


def diffusion_pipe(tools):
    """resized and crop are the box of the source that ImageOps.fit resizes: left, top, right, bottom."""
    root = tools / "diffusion-pipe/utils"
    made = []
    space = {"np": np, "math": math, "Path": pathlib.Path, "os": mock.MagicMock(), "json": None,
             "print": lambda *_: None, "bucket_suffix": str,
             "SizeBucketDataset": lambda _meta, _config, bucket, *_: made.append(bucket) or mock.MagicMock()}
    pieces(root / "common.py", {"round_to_nearest_multiple"}, space)
    pieces(root / "dataset.py", {"DirectoryDataset", "ARBucketDataset", "dedup_and_sort", "ROUND_DECIMAL_DIGITS"},
           space)
    for resolution, step, count in [(1024, 32, 300), (512, 16, 100), (960, 32, 100)]:
        config = {"path": tempfile.gettempdir(), "enable_ar_bucket": True, "min_ar": 0.5, "max_ar": 2.0,
                  "num_ar_buckets": 7, "resolutions": [resolution]}
        dataset = space["DirectoryDataset"](config, config, "model", round_to_multiple=step,
                                            skip_dataset_validation=True)
        for w, h in sizes(count):
            ar_frames = dataset._find_closest_ar_bucket(np.log(w / h), 1, False)
            made.clear()
            space["ARBucketDataset"](ar_frames, [resolution], mock.MagicMock(), config, pathlib.Path("cache"), step,
                                     None).cache_latents(None)
            _, bw, bh, _ = made[0]
            image = Resized((w, h))
            ImageOps.fit(image, (bw, bh))
            yield resolution, step, w, h, bw, bh, *("%.9f" % float(x) for x in image.box)


def novelai(tools):
    """bucket 0 0: the image is dropped. The tool has no code for images, so the rest is 0."""
    sys.path.insert(0, str(tools / "novelai-aspect-ratio-bucketing"))
    from bucketmanager import BucketManager

    for resolution, step, count in [(512, 64, 300), (768, 64, 100), (1024, 32, 100)]:
        wanted = sizes(count) + [(4100, 512), (4096, 512), (4095, 512), (512, 65500)]
        with tempfile.NamedTemporaryFile() as file:
            pickle.dump(dict(enumerate(wanted)), file)
            file.flush()
            manager = BucketManager(file.name, max_size=(resolution * 3 // 2, resolution), divisible=step,
                                    min_dim=resolution // 2, base_res=(resolution, resolution),
                                    dim_limit=resolution * 2)
        bucket_of = {image: bucket for bucket, images in manager.buckets.items() for image in images}
        for i, (w, h) in enumerate(wanted):
            bw, bh = manager.resolutions[bucket_of[i]] if i in bucket_of else (0, 0)
            yield resolution, step, w, h, int(bw), int(bh), 0, 0, 0, 0


def main():
    tools, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for rule in (musubi, onetrainer, ai_toolkit, diffusion_pipe, novelai):
        rows = ["\t".join(COLUMNS)] + ["\t".join(map(str, row)) for row in rule(tools)]
        (out / f"{rule.__name__}.tsv").write_text("\n".join(rows) + "\n")
        print(rule.__name__, len(rows) - 1)


main()
