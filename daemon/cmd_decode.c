/* One latent, of a shard or of a file, as a picture. */
#include "daemon/commands.h"
#include "daemon/latent_decoder.h"
#include "daemon/picture_file.h"
#include "daemon/shard_path.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "storage/seal.h"
#include "vae/safetensors.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { DECODE_FOUND = 1 };
#define NPY_FILE_MAX ((size_t)1 << 30)

/* What every decoding command needs; @may: an endpoint may decode it. */
static int check_words(const struct read_options *o, const char *may, struct error *err)
{
	if (!o->vae && !o->endpoint)
		return error_set(err, ERR_CONFIG,
				 "--vae is missing: the model that the latent is of%s", may);
	return picture_file_check(o->output, err);
}

static int write_picture(struct latent_decoder *decoder, const struct latent_space *space,
			 const struct ndarray *raw, const char *path, struct error *err)
{
	cleanup_image struct image image = IMAGE_INIT;

	if (latent_decoder_decode(decoder, space, raw, &image, err) < 0 ||
	    picture_file_write(path, &image, err) < 0)
		return -1;
	printf("%s: %zux%zu\n", path, image.width, image.height);
	return 0;
}

/* -- of a shard ---------------------------------------------------------------------------------- */

struct decode {
	const struct read_options *options;
	struct latent_decoder *decoder;
	bool decoding; /* what fails from here on is not the shard's fault */
};

static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	struct decode *d = arg;
	size_t downscale = latent_decoder_downscale(d->decoder);
	cleanup_ndarray struct ndarray raw = NDARRAY_INIT;
	struct latent_space space;
	struct record_facts facts;

	(void)span;
	if (strcmp(record->key, d->options->words[1]) != 0)
		return 0;
	if (record_facts_read(record, &facts, err) < 0 ||
	    latent_space_read(record, &facts, &space, err) < 0)
		return -1;
	if (latent_decoder_check(d->decoder, record->key, &space, err) < 0)
		return -1;
	if (latent_space_open(record, downscale, &facts, &space, &raw, err) < 0)
		return -1;
	d->decoding = true;
	return write_picture(d->decoder, &space, &raw, d->options->output, err) < 0 ? -1
										    : DECODE_FOUND;
}

static int decode_of_shard(struct decode *d, struct error *err)
{
	const struct read_options *o = d->options;
	struct latent_decoder_options with;
	struct remote_vae_options endpoint;
	cleanup_shard_path struct shard_path shard = SHARD_PATH_INIT;
	int r;

	if (latent_decoder_options_of(o, &endpoint, &with, err) < 0 ||
	    shard_path_open(o->words[0], &shard, err) < 0 ||
	    latent_decoder_open(&with, &d->decoder, err) < 0)
		return -1;
	r = shard_read_stored(shard.store, shard.name, on_record, d, err);
	if (r == 0)
		return error_set(err, ERR_CONFIG,
				 "%s holds no sample %s (latentctl inspect lists its keys)",
				 o->words[0], o->words[1]);
	if (r < 0)
		return d->decoding ? -1 : shard_failed("decode", o->words[0], err);
	return EXIT_OK;
}

int cmd_decode(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "vae vae-options device output " READ_ENDPOINT, 2,
	    "decode SHARD KEY --vae VAE|--endpoint URL --out OUT.png [--device cuda]"};
	struct read_options options = {.out = NULL};
	struct decode d = {.options = &options};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = check_words(&options, ", or --endpoint of one that decodes it", err) < 0
		? -1
		: decode_of_shard(&d, err);
	latent_decoder_close(d.decoder);
	return r;
}

/* -- of a file ----------------------------------------------------------------------------------- */

/* The tensor that is a latent: "latent", "latents" or "samples"; or the only one. */
static const struct safetensor *find_latent(const struct safetensors *file, const char *name,
					    struct error *err)
{
	static const char *const names[] = {"latent", "latents", "samples", "latent_tensor"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct safetensor *t = safetensors_find(file, names[i]);

		if (t)
			return t;
	}
	if (safetensors_count(file) == 1)
		return safetensors_at(file, 0);
	error_set(err, ERR_CONFIG, "%s: none of its %zu tensors is called \"latent\"", name,
		  safetensors_count(file));
	return NULL;
}

static int read_safetensors(const char *path, struct ndarray *out, struct error *err)
{
	struct safetensors *file = safetensors_open(path, err);
	const struct safetensor *t = file ? find_latent(file, path, err) : NULL;
	int r = -1;

	if (t && t->dtype == ST_OTHER)
		error_set(err, ERR_CONFIG, "%s: tensor \"%s\" is not F32, F16 or BF16", path,
			  t->name);
	else if (t)
		r = ndarray_alloc(out, DTYPE_F32, t->ndim, t->shape, err);
	if (r == 0)
		r = safetensors_read_f32(file, t, out->data, err);
	safetensors_close(file);
	return r;
}

static int read_npy(const char *path, struct ndarray *out, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	if (file_read_all(path, NPY_FILE_MAX, &bytes, err) < 0)
		return -1;
	if (npy_read(bytes.data, bytes.size, out, err) < 0)
		return error_wrap(err, "%s", path);
	if (out->dtype == DTYPE_F32 || out->dtype == DTYPE_F16)
		return 0;
	return error_set(err, ERR_CONFIG, "%s: it is %s, expected float32 or float16", path,
			 dtype_name(out->dtype));
}

/* [1, C, h, w] and [C, h, w] become the latter. */
static int check_shape(const char *path, size_t channels, struct ndarray *latent, struct error *err)
{
	char shape[96];

	ndarray_shape_text(latent->ndim, latent->shape, shape, sizeof(shape));
	if (latent->ndim == 4 && latent->shape[0] == 1) {
		latent->ndim = 3;
		memmove(latent->shape, latent->shape + 1, 3 * sizeof(latent->shape[0]));
	}
	if (latent->ndim == 3 && latent->shape[0] == channels && latent->shape[1] > 0 &&
	    latent->shape[2] > 0)
		return 0;
	return error_set(err, ERR_CONFIG, "%s: its shape is %s: the model decodes [%zu, h, w]",
			 path, shape, channels);
}

static int decode_file(struct latent_decoder *decoder, const struct read_options *o,
		       struct error *err)
{
	const struct vae_config *c = latent_decoder_config(decoder);
	const char *path = o->words[0], *dot = strrchr(path, '.');
	cleanup_ndarray struct ndarray stored = NDARRAY_INIT, raw = NDARRAY_INIT;
	struct latent_space space;
	bool npy = dot && strcasecmp(dot, ".npy") == 0;

	if ((npy ? read_npy : read_safetensors)(path, &stored, err) < 0 ||
	    check_shape(path, latent_decoder_channels(decoder), &stored, err) < 0)
		return -1;
	if (c) {
		latent_space_of(c, &space);
		space.scaled = o->scaled;
	} else if (!o->scaled) {
		return error_set(
		    err, ERR_CONFIG,
		    "an AutoencoderTiny decodes latents as a model takes them: --scaled, "
		    "if that is what %s has",
		    path);
	} else { /* nothing is to be done to them */
		space = (struct latent_space){.vae = {.latent_channels = stored.shape[0],
						      .scaling_factor = 1,
						      .patch_size = 1}};
	}
	if (latent_space_raw(&space, &stored, &raw, err) < 0)
		return -1;
	return write_picture(decoder, &space, &raw, o->output, err);
}

int cmd_decode_latent(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "vae vae-options device output scaled", 1,
	    "decode-latent IN.safetensors|IN.npy --vae VAE --out OUT.png [--scaled] "
	    "[--device cuda]"};
	struct read_options options = {.out = NULL};
	struct latent_decoder *decoder = NULL;
	struct latent_decoder_options with;
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	with = (struct latent_decoder_options){.vae = options.vae,
					       .vae_options = &options.vae_options,
					       .device = options.device,
					       .factors = options.scaled};
	r = check_words(&options, "", err);
	if (r == 0)
		r = latent_decoder_open(&with, &decoder, err);
	if (r == 0)
		r = decode_file(decoder, &options, err);
	latent_decoder_close(decoder);
	return r < 0 ? -1 : EXIT_OK;
}
