/*
 * Megatron-Energon wants .nv-meta in the folder of the dataset and SHARD.tar.idx beside each shard. Both stand in
 * .latentd/energon/, which is such a folder: its shards are relative links to the real ones, so that nothing is copied
 * and nothing lies beside the tars. get_train_dataset("OUT/NAME/.latentd/energon", ...) takes it as it is.
 *
 * SHARD.tar.idx: uint64, little-endian: where each sample's first header begins, then where the last one ends.
 */
#include "daemon/dataset_splits.h"
#include "daemon/index.h"

#include "base/checked.h"

#include <inttypes.h>
#include <string.h>

#define ROOT ".latentd/energon/"

static int write_offsets(const struct index_pass *pass, const struct index_shard *shard,
			 struct error *err)
{
	cleanup_index_samples struct index_samples samples = {.n = 0};
	cleanup_buffer struct buffer offsets = BUFFER_INIT;
	cleanup_free char *name = xasprintf(ROOT "%s.idx", shard->path);
	const struct index_sample *last;

	if (index_samples(pass, shard, &samples, err) < 0)
		return -1;
	for (size_t i = 0; i < samples.n; i++)
		buffer_put_u64(&offsets, samples.items[i].offset);
	last = samples.n > 0 ? &samples.items[samples.n - 1] : NULL;
	buffer_put_u64(&offsets, last ? last->offset + last->bytes : 0);
	return index_put(pass, name, &offsets, err);
}

/* "../../../../train/512x512/000000.tar": as many steps up as the link's folder is below OUT/NAME. */
static char *link_target(const char *path)
{
	cleanup_buffer struct buffer target = BUFFER_INIT;

	for (const char *p = ROOT; *p; p++)
		buffer_append_string(&target, *p == '/' ? "../" : "");
	for (const char *p = path; *p; p++)
		buffer_append_string(&target, *p == '/' ? "../" : "");
	buffer_append_string(&target, path);
	return xstrdup((const char *)target.data);
}

static int link_shard(const struct index_pass *pass, const struct index_shard *shard,
		      struct error *err)
{
	cleanup_free char *name = xasprintf(ROOT "%s", shard->path);
	cleanup_free char *target = link_target(shard->path);

	return pass->use->link(pass, name, target, err);
}

static int write_info(const struct index_pass *pass, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	buffer_append_string(&text, "{\"energon_version\":\"7.4.0\",\"shard_counts\":{");
	for (size_t i = 0; i < pass->n_shards; i++)
		buffer_appendf(&text, "%s\n\"%s\":%" PRIu64, i > 0 ? "," : "", pass->shards[i].path,
			       pass->shards[i].row.samples);
	buffer_append_string(&text, "}}\n");
	return index_put(pass, ROOT ".nv-meta/.info.json", &text, err);
}

static void put_split(const struct index_pass *pass, const char *split, struct buffer *out)
{
	size_t n = 0;

	buffer_appendf(out, "  %s:", split);
	for (size_t i = 0; i < pass->n_shards; i++) {
		if (strcmp(split_of(pass->shards[i].path), split) != 0)
			continue;
		buffer_appendf(out, "\n  - %s", pass->shards[i].path);
		n++;
	}
	buffer_append_string(out, n == 0 ? " []\n" : "\n");
}

static int write_split(const struct index_pass *pass, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	buffer_append_string(&text, "exclude: []\nsplit_parts:\n");
	put_split(pass, "train", &text);
	put_split(pass, "val", &text);
	buffer_append_string(&text, "  test: []\n");
	return index_put(pass, ROOT ".nv-meta/split.yaml", &text, err);
}

/* Energon tells datasets apart by it: of version 4's form, but made from the catalog, so that it comes again. */
static int write_uuid(const struct index_pass *pass, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const char *h = pass->catalog;

	buffer_appendf(&text, "%.8s-%.4s-4%.3s-8%.3s-%.12s", h, h + 8, h + 13, h + 17, h + 20);
	return index_put(pass, ROOT ".nv-meta/index.uuid", &text, err);
}

static int write_dataset(const struct index_pass *pass, struct error *err)
{
	static const char contents[] = "__module__: megatron.energon\n"
				       "__class__: CrudeWebdataset\n";
	cleanup_buffer struct buffer text = BUFFER_INIT;

	buffer_append_string(&text, contents);
	return index_put(pass, ROOT ".nv-meta/dataset.yaml", &text, err);
}

/* .info.json names the shards, so it comes last. */
int index_energon_write(const struct index_pass *pass, struct error *err)
{
	if (pass->use->sweep(pass, ".latentd/energon", ".tar.idx", err) < 0)
		return -1;
	for (size_t i = 0; i < pass->n_shards; i++) {
		const struct index_shard *shard = &pass->shards[i];

		if (write_offsets(pass, shard, err) < 0 || link_shard(pass, shard, err) < 0)
			return -1;
	}
	if (write_dataset(pass, err) < 0 || write_split(pass, err) < 0 || write_uuid(pass, err) < 0)
		return -1;
	return write_info(pass, err);
}
