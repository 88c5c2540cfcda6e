"""Reads datasets of latentd into training jobs: one file to copy, numpy and zstandard alone.

    data = LatentBatches("OUT/NAME", batch_size=16, rank=rank, world=world, seed=1)
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=4,
                                         sampler=range(position, 10 * len(data)))   # 10 epochs
    for batch in loader:          # "latent" [16, C, h, w] float32, "time_ids" [16, 6], "caption", "key", "arrays"
        position += 1             # all there is to save

Seed and number of a step decide its bucket, the same on every rank, and its samples: batches are whole and of one shape, no
two ranks see one sample in an epoch, any number of workers gives the same batches in the same order. What is left of a bucket
waits for the next epoch, which shuffles anew. Latents come scaled by what their records say; of moments each epoch gets its own
draw; what was attached is in "arrays". Of an image that was encoded with --flip or --crops each epoch draws one latent
(flip=0.5: how often a mirrored one), of one with --resolutions in the least, or resolution=N. Shards behind URLs: stream().
"""

import glob, hashlib, io, json, os, tarfile  # noqa: E401

import numpy, zstandard  # noqa: E401


def unzst(key, data):
    """For webdataset's .decode()."""
    from webdataset.autodecode import Continue
    return Continue(key[:-4], zstandard.decompress(data)) if key.endswith(".zst") else None


def normalise(z, about):
    """The latent z [C, h, w] as a model is trained on it; about: "latent" of its record."""
    z = numpy.asarray(z, numpy.float32)
    if about["scaled"]:
        return z
    if about.get("patch_size") == 2:
        c, h, w = z.shape
        z = z.reshape(c, h // 2, 2, w // 2, 2).transpose(0, 2, 4, 1, 3).reshape(4 * c, h // 2, w // 2)
    shift, std = about["shift_factor"] or 0, 1
    if about.get("latents_mean"):
        shift, std = (numpy.array(about[n], numpy.float32)[:, None, None] for n in ("latents_mean", "latents_std"))
    return (z - numpy.float32(shift)) * numpy.float32(about["scaling_factor"] / std)


def draw(moments, *seed):
    """A draw from moments [2C, h, w]; equal seeds (any values) give equal draws, none gives the mean."""
    mean, logvar = numpy.split(numpy.asarray(moments, numpy.float32), 2)
    if not seed:
        return mean
    number = int.from_bytes(hashlib.sha256(repr(seed).encode()).digest()[:16], "little")
    noise = numpy.random.Generator(numpy.random.Philox(number)).standard_normal(mean.shape, numpy.float32)
    return mean + numpy.exp(0.5 * numpy.clip(logvar, -30, 20)) * noise


def finish(members, captions, scale, *seed):
    """A sample as a trainer wants it."""
    arrays = {k.split(".")[0]: v for k, v in members.items() if ".npy" in k}
    record, array = members["json"], arrays.pop("moments" if "moments" in arrays else "latent")
    if array.dtype == numpy.uint8:  # planes of bytes
        array = numpy.ascontiguousarray(array).view(f"<f{array.shape[-1]}")[..., 0]
    if (about := record["latent"])["posterior"] == "moments":
        array = draw(array, *(seed and (*seed, record["key"])))
    caption = captions.get(record["key"], record["caption"]) or ""
    latent = normalise(array, about) if scale else numpy.asarray(array, numpy.float32)
    return {"key": record["key"], "caption": caption, "record": record, "latent": latent, "arrays": arrays,
            "time_ids": numpy.array(record["time_ids"], numpy.float32)}


def state_of(folder, resolution=None):
    """What changed since shards were written, {key: caption} and {(shard, key)} of removed samples; how many latents there
    are of each crop (2: plain, mirrored), and of each image in a resolution; which of how many resolutions that one is."""
    paths = [os.path.join(folder, ".latentd", name) for name in ("captions.jsonl", "removed.txt", "dataset.json")]
    *lists, about = [open(p, encoding="utf-8").read() if os.path.exists(p) else "" for p in paths]
    captions, removed = [text.split("\n")[:-1] for text in lists]
    names = (recipe := json.loads(about or "{}").get("recipe") or {}).get("variants", ("plain",))
    sides = [recipe.get("buckets", {}).get("resolution"), *(int(n[11:]) for n in names if n.startswith("resolution "))]
    ways, nth = 2 if "flip" in names else 1, sides.index(resolution or sides[0])  # ValueError: it has no such resolution
    each, changed = ways * sum(n[0] in "pc" for n in names), {c["key"]: c["caption"] for c in map(json.loads, captions)}
    return changed, {tuple(r.split("\t")) for r in removed}, ways, each, nth, len(sides)


def stream(urls, seed=0, scale=True, shuffle=1000, captions=None, **options):
    """Samples of one bucket's shards, wherever they are, through webdataset."""
    import webdataset as wds
    data = wds.WebDataset(urls, shardshuffle=100, seed=seed, empty_check=False, **options).shuffle(shuffle)
    return data.decode(unzst).map(lambda sample: finish(sample, captions or {}, scale, seed))


class LatentBatches:
    """Step -> batch, a map-style dataset; its length is the steps of an epoch."""

    def __init__(self, folder, batch_size, rank=0, world=1, seed=0, scale=True, split="train", flip=0.5, resolution=None):
        self.folder, self.batch, self.rank, self.world, self.seed, self.scale = folder, batch_size, rank, world, seed, scale
        self.shards, self.plans, self.flip, buckets = [], {}, flip, {}
        self.captions, removed, self.ways, self.variants, nth, sides = state_of(folder, resolution)
        top = os.path.join(folder, ".latentd/webshart")
        for index in sorted(glob.glob(os.path.join(glob.escape(top), split, "*/*.json"))):
            shard, spans = os.path.relpath(index, top)[:-5] + ".tar", {}
            for name, place in json.load(open(index, encoding="utf-8"))["files"].items():  # in the order of the bytes
                key, start = name[: name.index(".")], place["offset"] - 512
                spans[key] = spans.get(key, (start,))[0], place["offset"] + place["size"]
            live = [span for key, span in spans.items() if (shard, key) not in removed]
            # the variants of an image stand side by side: a row is its shard, and first byte and end of each
            rows = numpy.array(live, numpy.int64).reshape(-1, sides, 2 * self.variants)[:, nth]
            buckets.setdefault(shard.split("/")[1].split("_")[nth], []).append(numpy.insert(rows, 0, len(self.shards), axis=1))
            self.shards.append(shard)
        self.buckets = {name: numpy.concatenate(parts) for name, parts in sorted(buckets.items())}
        self.counts = {name: len(rows) // (batch_size * world) for name, rows in self.buckets.items()}  # of steps
        self.rows = numpy.concatenate([*self.buckets.values(), numpy.empty((0, 1 + 2 * self.variants), numpy.int64)])
        if not len(self):
            raise ValueError(f"{folder}: no bucket of tars has {batch_size * world} samples, a batch for every rank")

    def __len__(self):
        return sum(self.counts.values())

    def _plan(self, epoch):
        """[(bucket, which of its batches)] by step, the order of each bucket's images, and which of its variants each is."""
        if epoch not in self.plans:  # one is kept
            random = numpy.random.Generator(numpy.random.Philox((self.seed << 64) + epoch))
            orders = {name: random.permutation(len(rows)) for name, rows in self.buckets.items()}
            steps = [(name, nth) for name, count in self.counts.items() for nth in range(count)]
            steps, variants = [steps[i] for i in random.permutation(len(steps))], {}
            for name, rows in self.buckets.items():
                mirrored = random.random(len(rows)) < (self.flip if self.ways == 2 else 0)
                variants[name] = random.integers(self.variants // self.ways, size=len(rows)) * self.ways + mirrored
            self.plans = {epoch: (steps, orders, variants)}
        return self.plans[epoch]

    def __getitem__(self, step):
        epoch, step = divmod(int(step), len(self))
        steps, orders, variants = self._plan(epoch)
        name, nth = steps[step]
        chosen = orders[name][(nth * self.world + self.rank) * self.batch :][: self.batch]
        images = zip(self.buckets[name][chosen], variants[name][chosen])
        samples = [finish(self._read(*image), self.captions, self.scale, self.seed, epoch) for image in images]
        batch = {name: [sample[name] for sample in samples] for name in samples[0] if name != "record"}
        return {**batch, "latent": numpy.stack(batch["latent"]), "time_ids": numpy.stack(batch["time_ids"])}

    def sample(self, i, epoch=None, variant=0):
        """Image i of len(self.rows), with its record; of moments the draw of that epoch, or the mean."""
        return finish(self._read(self.rows[i], variant), self.captions, self.scale, *(() if epoch is None else (self.seed, epoch)))

    def _read(self, row, variant=0):
        (first, end), members = row[1 + 2 * variant : 3 + 2 * variant], {}
        with open(os.path.join(self.folder, self.shards[row[0]]), "rb") as file:
            file.seek(first)
            span = file.read(end - first)
        with tarfile.open(fileobj=io.BytesIO(span + bytes(1536 - len(span) % 512))) as tar:
            for member in tar:
                field, data = member.name.split(".", 1)[1], tar.extractfile(member).read()
                data = zstandard.decompress(data) if field.endswith(".zst") else data
                members[field] = numpy.load(io.BytesIO(data), allow_pickle=False) if ".npy" in field else data
        return {**members, "json": json.loads(members["json"])}
