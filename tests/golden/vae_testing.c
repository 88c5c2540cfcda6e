#include "tests/golden/vae_testing.h"

#include "base/checked.h"
#include "tests/golden/kl_testing.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COLUMNS = 3 };

/* -- names --------------------------------------------------------------------------------------- */

/* The next row of the table; false at its end. */
static bool next_row(char **at, char *fields[COLUMNS])
{
	char *line = strsep(at, "\n");

	if (!line || !*line)
		return false;
	for (size_t i = 0; i < COLUMNS; i++) {
		fields[i] = strsep(&line, "\t");
		assert_non_null(fields[i]);
	}
	return true;
}

static struct buffer read_names(char **rows)
{
	char *path = testing_golden("kl_names.tsv");
	struct buffer text = testing_read(path);

	*rows = strchr((char *)text.data, '\n') + 1; /* behind the heading */
	free(path);
	return text;
}

char *vae_testing_name(const char *canonical, enum vae_testing_column column)
{
	char *at, *fields[COLUMNS], *found = NULL;
	struct buffer text = read_names(&at);

	while (!found && next_row(&at, fields)) {
		if (strcmp(fields[NAMES_CANONICAL], canonical) == 0)
			found = xstrdup(fields[column]);
	}
	buffer_release(&text);
	assert_non_null(found);
	return found;
}

void vae_testing_each_name(void (*fn)(const char *canonical, const char *ldm, const char *old))
{
	char *at, *fields[COLUMNS];
	struct buffer text = read_names(&at);

	while (next_row(&at, fields))
		fn(fields[NAMES_CANONICAL], fields[NAMES_LDM], fields[NAMES_OLD]);
	buffer_release(&text);
}

void vae_testing_renamed(const char *golden, const char *path, vae_testing_rename_fn rename,
			 const char *arg)
{
	char *folder = testing_golden(golden);
	struct safetensors *file = kl_testing_open(folder, "diffusion_pytorch_model.safetensors");
	size_t n = 0, count = safetensors_count(file);
	struct safetensors_entry *entries = xcalloc(count, sizeof(*entries));
	struct ndarray *arrays = xcalloc(count, sizeof(*arrays));
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < count; i++) {
		const char *was = safetensors_at(file, i)->name;
		char *name = rename(was, arg);

		if (!name)
			continue;
		arrays[n] = kl_testing_tensor(file, was);
		entries[n] = (struct safetensors_entry){name, &arrays[n]};
		n++;
	}
	assert_ok(safetensors_write(path, entries, n, &err), &err);
	for (size_t i = 0; i < n; i++) {
		free((char *)entries[i].name);
		ndarray_release(&arrays[i]);
	}
	free(arrays);
	free(entries);
	safetensors_close(file);
	free(folder);
}

/* -- files of holes ------------------------------------------------------------------------------ */

void vae_testing_add(struct vae_testing_file *file, const char *name, size_t ndim,
		     const size_t *shape)
{
	uint64_t bytes = sizeof(float);

	buffer_appendf(&file->header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[",
		       file->header.size ? "," : "{", name);
	for (size_t i = 0; i < ndim; i++) {
		buffer_appendf(&file->header, "%s%zu", i ? "," : "", shape[i]);
		bytes *= shape[i];
	}
	buffer_appendf(&file->header, "],\"data_offsets\":[%llu,%llu]}",
		       (unsigned long long)file->bytes, (unsigned long long)(file->bytes + bytes));
	file->bytes += bytes;
}

void vae_testing_write(struct vae_testing_file *file, const char *path)
{
	struct buffer all = BUFFER_INIT;

	buffer_put_u64(&all, file->header.size + 1);
	buffer_append(&all, file->header.data, file->header.size);
	buffer_append_string(&all, "}");
	testing_write(path, all.data, all.size);
	assert_int_equal(truncate(path, (off_t)(all.size + file->bytes)), 0);
	buffer_release(&all);
	buffer_release(&file->header);
}

struct encoder_names {
	struct vae_testing_file *file;
	const char *prefix;
};

static void add_pair(const struct encoder_names *e, const char *name, size_t ndim, size_t out,
		     size_t in, size_t kernel)
{
	const size_t shape[4] = {out, in, kernel, kernel};
	char *weight = xasprintf("%s%s.weight", e->prefix, name);
	char *bias = xasprintf("%s%s.bias", e->prefix, name);

	vae_testing_add(e->file, weight, ndim, shape);
	vae_testing_add(e->file, bias, 1, shape);
	free(weight);
	free(bias);
}

static void add_resnet(const struct encoder_names *e, const char *name, size_t out, size_t in)
{
	static const char *const parts[] = {"norm1", "conv1", "norm2", "conv2", "conv_shortcut"};

	for (size_t i = 0; i < ARRAY_SIZE(parts) - (in == out); i++) {
		char *full = xasprintf("%s.%s", name, parts[i]);
		bool is_norm = i == 0 || i == 2;

		add_pair(e, full, is_norm ? 1 : 4, i == 0 ? in : out, i == 1 || i == 4 ? in : out,
			 i == 4 ? 1 : 3);
		free(full);
	}
}

static void add_block(const struct encoder_names *e, const struct vae_config *c, size_t i)
{
	size_t in = c->block_out_channels[i ? i - 1 : 0], out = c->block_out_channels[i];
	char name[96];

	for (size_t j = 0; j < c->layers_per_block; j++) {
		snprintf(name, sizeof(name), "encoder.down_blocks.%zu.resnets.%zu", i, j);
		add_resnet(e, name, out, j ? out : in);
	}
	snprintf(name, sizeof(name), "encoder.down_blocks.%zu.downsamplers.0.conv", i);
	if (i < c->blocks - 1)
		add_pair(e, name, 4, out, out, 3);
}

void vae_testing_add_encoder(struct vae_testing_file *file, const char *prefix,
			     const struct vae_config *c)
{
	static const char *const linear[] = {"to_q", "to_k", "to_v", "to_out.0"};
	const struct encoder_names e = {file, prefix};
	size_t last = c->block_out_channels[c->blocks - 1], moments = 2 * c->latent_channels;

	add_pair(&e, "encoder.conv_in", 4, c->block_out_channels[0], 3, 3);
	for (size_t i = 0; i < c->blocks; i++)
		add_block(&e, c, i);
	add_resnet(&e, "encoder.mid_block.resnets.0", last, last);
	add_resnet(&e, "encoder.mid_block.resnets.1", last, last);
	for (size_t i = 0; c->mid_block_add_attention && i < ARRAY_SIZE(linear); i++) {
		char *name = xasprintf("encoder.mid_block.attentions.0.%s", linear[i]);

		add_pair(&e, name, 2, last, last, 1);
		free(name);
	}
	if (c->mid_block_add_attention)
		add_pair(&e, "encoder.mid_block.attentions.0.group_norm", 1, last, 1, 1);
	add_pair(&e, "encoder.conv_norm_out", 1, last, 1, 1);
	add_pair(&e, "encoder.conv_out", 4, moments, last, 3);
	if (c->use_quant_conv)
		add_pair(&e, "quant_conv", 4, moments, moments, 1);
}

struct vae_config vae_testing_standard(size_t latent_channels, bool quant_conv)
{
	static const size_t channels[] = {128, 256, 512, 512};
	struct vae_config c;

	vae_config_defaults(VAE_CLASS_KL, &c);
	c.blocks = ARRAY_SIZE(channels);
	memcpy(c.block_out_channels, channels, sizeof(channels));
	memcpy(c.decoder_channels, channels, sizeof(channels));
	c.layers_per_block = 2;
	c.latent_channels = latent_channels;
	c.use_quant_conv = c.use_post_quant_conv = quant_conv;
	return c;
}
