/*
 * README.md: how to read this dataset, with its own shape and numbers. One that a person wrote is left alone.
 */
#include "daemon/index.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#define MARK "<!-- made by latentd from its catalog; remove this line to keep your own text -->\n"

static bool is_ours(const char *path)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error ignored = ERROR_INIT;

	if (!file_exists(path))
		return true;
	return file_read_all(path, 1 << 20, &text, &ignored) == 0 && text.size >= strlen(MARK) &&
	       memcmp(text.data, MARK, strlen(MARK)) == 0;
}

static void put_number(struct buffer *out, json_t *value)
{
	if (json_is_number(value))
		buffer_appendf(out, "%.15g", json_number_value(value));
	else
		buffer_append_string(out, "none");
}

/* Of a VAE whose weights nobody here has seen. */
static void put_declared(struct buffer *out, json_t *vae)
{
	const char *class = json_string_value(json_object_get(vae, "class"));
	const char *name = json_string_value(json_object_get(vae, "name"));

	if (class && name && strcmp(class, "declared") == 0)
		buffer_appendf(
		    out,
		    "They were encoded by an endpoint that does not tell its weights; it was "
		    "declared to be `%s`.\n",
		    name);
}

static void put_scaling(struct buffer *out, const struct index_pass *pass)
{
	json_t *recipe = pass->recipe_json ? json_loads(pass->recipe_json, 0, NULL) : NULL;
	json_t *vae = json_object_get(recipe, "vae");

	if (vae) {
		buffer_appendf(out, "Latents are stored %s: scaling factor ",
			       pass->example.scaled ? "scaled" : "unscaled");
		put_number(out, json_object_get(vae, "scaling_factor"));
		buffer_append_string(out, ", shift ");
		put_number(out, json_object_get(vae, "shift_factor"));
		buffer_append_string(out, ".\n");
		put_declared(out, vae);
	}
	if (json_object_get(vae, "patch_size"))
		buffer_append_string(
		    out, "Make patches of 2x2 first: `z.reshape(c, h // 2, 2, w // 2, 2)"
			 ".transpose(0, 2, 4, 1, 3).reshape(4 * c, h // 2, w // 2)`.\n");
	if (json_object_get(vae, "latents_mean"))
		buffer_append_string(
		    out, "Apply `(latent - mean) * scaling_factor / std` by channel; every "
			 "record has them as `latents_mean` and `latents_std`.\n\n");
	else
		buffer_append_string(
		    out,
		    pass->example.scaled
			? "They are what a model is trained on. For the VAE's decoder: `latent / "
			  "scaling_factor + shift`; every\nrecord has the two (`shift_factor` "
			  "null: "
			  "0).\n\n"
			: "Apply `(latent - shift) * scaling_factor`; every record has the two "
			  "(`shift_factor` null: 0).\n\n");
	json_decref(recipe);
}

static void put_totals(struct buffer *out, const struct index_pass *pass)
{
	uint64_t samples = 0, bytes = 0;
	char size[24];

	for (size_t i = 0; i < pass->n_shards; i++) {
		samples += pass->shards[i].row.samples - pass->shards[i].row.dead;
		bytes += pass->shards[i].row.bytes;
	}
	buffer_appendf(out, "%" PRIu64 " samples in %zu shards, %s. Recipe `%s`.\n\n", samples,
		       pass->n_shards, text_bytes(bytes, size), pass->recipe_id);
}

static void put_webdataset(struct buffer *out, const char *shard, const char *field, bool plain)
{
	buffer_append_string(out, plain ? "With webdataset:\n\n```python\n"
					  "import webdataset as wds\n\n"
					: "With webdataset (and `pip install zstandard`):\n\n"
					  "```python\nimport webdataset as wds, zstandard\n"
					  "from webdataset.autodecode import Continue\n\n"
					  "unzst = lambda key, data: (Continue(key[:-4], "
					  "zstandard.ZstdDecompressor().decompress(data))\n"
					  "                           if key.endswith(\".zst\") "
					  "else None)\n");
	buffer_appendf(out,
		       "dataset = wds.WebDataset(\"%s\", shardshuffle=False).decode(%s)\n"
		       "for sample in dataset:\n    latent, record = sample[\"%s\"], "
		       "sample[\"json\"]\n```\n\n",
		       shard, plain ? "" : "unzst", field);
}

static void put_datasets(struct buffer *out, const char *field, bool plain)
{
	buffer_appendf(
	    out,
	    "With Hugging Face datasets%s:\n\n```python\n"
	    "from datasets import load_dataset\n"
	    "dataset = load_dataset(\"webdataset\", data_dir=\".\", split=\"train\", "
	    "streaming=True)\n"
	    "for sample in dataset.with_format(\"numpy\"):\n    latent = sample[\"%s\"]\n```\n\n",
	    plain ? "" : " (and `pip install zstandard`)", field);
}

static void put_numpy(struct buffer *out, const char *shard, const char *field, bool plain)
{
	buffer_appendf(out,
		       "With nothing but %snumpy:\n\n```python\n"
		       "import io, json, tarfile, numpy%s\n\n"
		       "with tarfile.open(\"%s\") as tar:\n    for member in tar:\n"
		       "        if member.name.endswith(\".json\"):\n"
		       "            record = json.load(tar.extractfile(member))\n"
		       "            npy = tar.extractfile(record[\"key\"] + \".%s\").read()\n"
		       "%s"
		       "            latent = numpy.load(io.BytesIO(npy))\n```\n\n",
		       plain ? "" : "zstandard and ", plain ? "" : ", zstandard", shard, field,
		       plain ? ""
			     : "            npy = zstandard.ZstdDecompressor().decompress(npy)\n");
}

/* Names of columns are left to the reader where they were chosen. */
static void put_streaming(struct buffer *out, const struct index_pass *pass, const char *field)
{
	buffer_append_string(
	    out, "With MosaicML Streaming, a stream for each size, so that batches are of one:\n\n"
		 "```python\nfrom pathlib import Path\n"
		 "from streaming import Stream, StreamingDataset\n\n"
		 "streams = [Stream(remote=str(index.parent), local=f\"/tmp/shards/"
		 "{index.parent.name}\")\n"
		 "           for index in Path(\"train\").glob(\"*/index.json\")]\n"
		 "dataset = StreamingDataset(streams=streams, batch_size=16, shuffle=True,\n"
		 "                           batching_method=\"per_stream\", "
		 "validate_hash=\"xxh64\")\n");
	buffer_appendf(out,
		       "for sample in dataset:\n    latent, record = sample[\"%.*s\"], "
		       "sample[\"meta\"]\n```\n\n",
		       (int)strcspn(field, "."), field);
	if (pass->form.columns[0])
		buffer_appendf(out, "Columns were given other names or forms: `%s`.\n\n",
			       pass->form.columns);
}

static void put_indexes(struct buffer *out, bool mds)
{
	buffer_append_string(
	    out, "| index | for |\n|---|---|\n"
		 "| `.latentd/dataset.json`, `shards.jsonl`, `shards.txt` | recipe, counts, hashes "
		 "of every shard |\n");
	buffer_append_string(
	    out,
	    mds ? "| `train/WxH/index.json` | MosaicML Streaming, LitData: of one size |\n"
		  "| `train/index.json` | of all sizes |\n\n"
		: "| `.latentd/wids.json` | wids |\n"
		  "| `.latentd/webshart/train/WxH/` | webshart, hfutils: metadata of `train/WxH/` "
		  "|\n"
		  "| `.latentd/energon/` | Megatron-Energon: give this folder as the dataset "
		  "|\n\n");
	buffer_append_string(out, "`latentctl reindex` makes all of them again.\n");
}

static void put_example(struct buffer *out, const struct index_pass *pass, bool mds)
{
	const struct record_facts *facts = &pass->example;
	const char *field = record_latent_suffix(facts->moments, facts->codec);
	bool plain = facts->codec == OUTPUT_CODEC_NONE;

	buffer_append_string(
	    out,
	    strchr(pass->example_shard->group, '_')
		? "Each image is there in several resolutions, whose sizes name the folder of its "
		  "shard: take the samples\nwhose record has the `resolution` that you want. The "
		  "first in "
		: "All samples of a shard have one size, which names its folder. In ");
	buffer_appendf(out,
		       "`train/%s`: latents of\nshape [%zu, %zu, %zu] (channels, height, "
		       "width), %s.\n",
		       pass->example_shard->group, facts->channels, facts->height, facts->width,
		       dtype_name(facts->dtype));
	put_scaling(out, pass);
	if (facts->codec == OUTPUT_CODEC_PLANES)
		buffer_appendf(out,
			       "They are stored as planes of bytes: what is read below is "
			       "`%s`, an array of bytes, and\n"
			       "`latent = numpy.ascontiguousarray(latent).view(\"<f%zu\")[..., 0]` "
			       "the latent.\n\n",
			       field, dtype_size(facts->dtype));
	if (mds) {
		put_streaming(out, pass, field);
		return;
	}
	put_webdataset(out, pass->example_shard->path, field, plain);
	put_datasets(out, field, plain);
	put_numpy(out, pass->example_shard->path, field, plain);
}

int index_readme_write(const struct index_pass *pass, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/README.md", pass->folder);
	bool mds = strcmp(dataset_form_format(&pass->form)->name, "mds") == 0;
	cleanup_buffer struct buffer text = BUFFER_INIT;

	if (!is_ours(path))
		return 0;
	buffer_appendf(&text, MARK "# %s\n\nVAE latents in %s shards. ", pass->name,
		       mds ? "MosaicML Streaming's" : "WebDataset");
	put_totals(&text, pass);
	if (pass->example_shard)
		put_example(&text, pass, mds);
	put_indexes(&text, mds);
	return index_put(pass, "README.md", &text, err);
}
