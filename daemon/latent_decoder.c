#include "daemon/latent_decoder.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/memory_allowed.h"
#include "encoder/pixel_range.h"
#include "vae/kl_decoder.h"
#include "vae/kl_encoder.h"
#include "vae/kl_tiles.h"
#include "vae/tiny_vae.h"
#include "vae/tiny_weights.h"

#include <string.h>

struct latent_decoder {
	struct vae_choice choice;
	struct kl_decoder *kl;
	struct tiny_vae *tiny; /* in place of all others */
	char *name;
	size_t memory;
	struct kl_encoder *encoder; /* NULL: only its hash was wanted */
	struct sha256 encoder_hash;
};

static int open_kl(struct latent_decoder *d, const struct latent_decoder_options *o,
		   struct error *err)
{
	const struct vae_engine_ops *engine = vae_engine_choose(VAE_FLOAT32, err);

	if (!engine)
		return -1;
	d->kl = kl_decoder_load_model(d->choice.model, engine, o->threads, err);
	if (!d->kl)
		return -1;
	kl_decoder_limit_memory(d->kl, d->memory);
	d->encoder = kl_encoder_load_model(d->choice.model, o->encoder ? engine : &vae_engine_naive,
					   o->encoder ? o->threads : 1, err);
	if (!d->encoder)
		return -1;
	d->encoder_hash = *kl_encoder_weights_hash(d->encoder);
	kl_encoder_limit_memory(d->encoder, d->memory);
	if (o->encoder)
		return 0;
	kl_encoder_free(d->encoder);
	d->encoder = NULL;
	return 0;
}

static int open_tiny(struct latent_decoder *d, const struct latent_decoder_options *o,
		     struct error *err)
{
	const struct vae_engine_ops *engine = vae_engine_choose(VAE_FLOAT32, err);

	if (!engine)
		return -1;
	if (o->encoder)
		return error_set(err, ERR_CONFIG,
				 "%s is an AutoencoderTiny: to prove latents right takes their own "
				 "VAE",
				 o->vae);
	d->tiny = tiny_vae_load(o->vae, VAE_DECODER, engine, o->threads, err);
	return d->tiny ? 0 : -1;
}

static int open_decoder(struct latent_decoder *d, const struct latent_decoder_options *o,
			struct error *err)
{
	const char *slash = strrchr(o->vae, '/');

	d->memory = o->memory ? o->memory : memory_allowed() / 2;
	if (tiny_weights_exist(o->vae)) {
		d->name = xstrdup(slash ? slash + 1 : o->vae);
		return open_tiny(d, o, err);
	}
	if ((o->factors ? vae_choice_open : vae_choice_look)(o->vae, o->vae_options, &d->choice,
							     err) < 0)
		return -1;
	d->name = xstrdup(d->choice.name);
	return open_kl(d, o, err);
}

int latent_decoder_open(const struct latent_decoder_options *options, struct latent_decoder **out,
			struct error *err)
{
	struct latent_decoder *d = xcalloc(1, sizeof(*d));

	if (open_decoder(d, options, err) < 0) {
		latent_decoder_close(d);
		return -1;
	}
	*out = d;
	return 0;
}

void latent_decoder_close(struct latent_decoder *d)
{
	if (!d)
		return;
	kl_decoder_free(d->kl);
	kl_encoder_free(d->encoder);
	tiny_vae_free(d->tiny);
	free(d->name);
	vae_choice_close(&d->choice);
	free(d);
}

const struct vae_config *latent_decoder_config(const struct latent_decoder *d)
{
	return d->tiny ? NULL : &d->choice.model->config;
}

size_t latent_decoder_channels(const struct latent_decoder *d)
{
	return d->tiny ? tiny_vae_latent_channels(d->tiny)
		       : latent_decoder_config(d)->latent_channels;
}

size_t latent_decoder_downscale(const struct latent_decoder *d)
{
	return d->tiny ? tiny_vae_downscale(d->tiny)
		       : vae_config_downscale(latent_decoder_config(d));
}

int latent_decoder_check(const struct latent_decoder *d, const char *key,
			 const struct latent_space *space, struct error *err)
{
	size_t channels = latent_decoder_channels(d);
	char made_by[SHA256_HEX_SIZE], have[SHA256_HEX_SIZE];

	if (space->vae.latent_channels != channels)
		return error_set(
		    err, ERR_CONFIG,
		    "%s: its latent has %zu channels, %s decodes %zu: it is of another "
		    "model",
		    key, space->vae.latent_channels, d->name, channels);
	if (d->tiny || !space->weights_known ||
	    memcmp(&space->weights, &d->encoder_hash, sizeof(d->encoder_hash)) == 0)
		return 0;
	sha256_hex(&space->weights, made_by);
	sha256_hex(&d->encoder_hash, have);
	return error_set(
	    err, ERR_CONFIG,
	    "%s: it was encoded by another model: vae_sha256 %.12s, that of %s is %.12s", key,
	    made_by, d->choice.name, have);
}

static int encode(struct latent_decoder *d, size_t tile, const float *pixels,
		  const struct image *image, float *moments, struct error *err)
{
	struct vae_config tiled = *latent_decoder_config(d);
	struct error no_tiles = ERROR_INIT;

	if (tile == 0)
		return kl_encoder_encode(d->encoder, pixels, image->height, image->width, moments,
					 NULL, err);
	tiled.sample_size = tile;
	if (kl_tiles_check(&tiled, &no_tiles) < 0)
		return error_data(err, "record", "%s", no_tiles.message);
	return kl_tiles_encode(d->encoder, tile, pixels, image->height, image->width, moments, NULL,
			       err);
}

int latent_decoder_encode(struct latent_decoder *d, const struct latent_space *space,
			  const struct image *image, struct ndarray *raw, struct error *err)
{
	size_t shape[3] = {latent_decoder_config(d)->latent_channels, 0, 0};
	cleanup_ndarray struct ndarray mean = NDARRAY_INIT;
	cleanup_free float *pixels = malloc(image_bytes(image) * sizeof(float)), *moments = NULL;

	kl_encoder_latent_size(d->encoder, image->height, image->width, &shape[1], &shape[2]);
	if (ndarray_alloc(&mean, DTYPE_F32, 3, shape, err) < 0)
		return -1;
	moments = malloc(2 * mean.bytes);
	if (!pixels || !moments)
		return error_set(err, ERR_NOMEM, "no memory for %zux%zu pixels", image->width,
				 image->height);
	pixel_range_signed(pixels, image->pixels, image_bytes(image));
	if (encode(d, space->tile, pixels, image, moments, err) < 0)
		return -1;
	memcpy(mean.data, moments, mean.bytes);
	*raw = mean;
	mean = (struct ndarray)NDARRAY_INIT;
	return 0;
}

/* It decodes what a model sees. */
static int decode_tiny(struct latent_decoder *d, const struct latent_space *space,
		       const struct ndarray *raw, float *pixels, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	size_t need = tiny_vae_memory(d->tiny, raw->shape[1], raw->shape[2]);

	if (need > d->memory)
		return error_data(
		    err, "too_large",
		    "a latent of %zux%zu takes %zu MiB to decode, %zu MiB are allowed",
		    raw->shape[2], raw->shape[1], need >> 20, d->memory >> 20);
	if (ndarray_alloc(&latent, DTYPE_F32, 3, raw->shape, err) < 0)
		return -1;
	memcpy(latent.data, raw->data, raw->bytes);
	latent_space_normalise(space, &latent);
	return tiny_vae_decode(d->tiny, latent.data, raw->shape[1], raw->shape[2], pixels, err);
}

int latent_decoder_decode(struct latent_decoder *d, const struct latent_space *space,
			  const struct ndarray *raw, struct image *out, struct error *err)
{
	size_t scale = latent_decoder_downscale(d), height, width, bytes;
	int r;
	cleanup_image struct image image = IMAGE_INIT;
	cleanup_free float *pixels = NULL;

	if (!size_mul(raw->shape[1], scale, &height) || !size_mul(raw->shape[2], scale, &width) ||
	    !size_mul3(height, width, 3 * sizeof(float), &bytes))
		return error_data(err, "too_large", "a latent of %zux%zu is too large",
				  raw->shape[2], raw->shape[1]);
	pixels = malloc(bytes);
	if (!pixels)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes of pixels", bytes);
	if (image_alloc(&image, width, height, err) < 0)
		return -1;
	r = d->tiny ? decode_tiny(d, space, raw, pixels, err)
		    : kl_decoder_decode(d->kl, raw->data, raw->shape[1], raw->shape[2], pixels,
					NULL, err);
	if (r < 0)
		return -1;
	pixel_range_stored(image.pixels, pixels, image_bytes(&image));
	*out = image;
	image = (struct image)IMAGE_INIT;
	return 0;
}
