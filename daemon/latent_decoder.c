#include "daemon/latent_decoder.h"

#include "daemon/gpu_decoder.h"
#include "daemon/vae_locate.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/memory_allowed.h"
#include "config/secret_file.h"
#include "encoder/pixel_range.h"
#include "vae/kl_decoder.h"
#include "vae/kl_tiles.h"
#include "vae/tiny_vae.h"
#include "vae/tiny_weights.h"
#include "vae/vae_encoder.h"

#include <stdio.h>
#include <string.h>

struct latent_decoder {
	struct vae_choice choice; /* of an AutoencoderTiny only where its encoder is wanted */
	struct kl_decoder *kl;	  /* one of the two */
	struct tiny_vae *tiny;
	struct remote_vae *remote; /* or this in place of both */
	struct encoder *gpu;	   /* or this, which encodes too */
	char *name;
	size_t memory;
	struct vae_encoder *encoder; /* NULL: at most its hash was wanted */
	bool encoder_known;
	struct sha256 encoder_hash;
};

/* The encoder beside it, or only its hash. */
static int open_encoder(struct latent_decoder *d, const struct latent_decoder_options *o,
			const struct vae_engine_ops *engine, struct error *err)
{
	d->encoder = vae_encoder_load(d->choice.model, o->encoder ? engine : &vae_engine_naive,
				      o->encoder ? o->threads : 1, err);
	if (!d->encoder)
		return -1;
	d->encoder_known = true;
	d->encoder_hash = *vae_encoder_weights_hash(d->encoder);
	vae_encoder_limit_memory(d->encoder, d->memory);
	if (o->encoder)
		return 0;
	vae_encoder_free(d->encoder);
	d->encoder = NULL;
	return 0;
}

static int open_kl(struct latent_decoder *d, const struct latent_decoder_options *o,
		   const struct vae_engine_ops *engine, struct error *err)
{
	if ((o->factors ? vae_choice_open : vae_choice_look)(o->vae, o->vae_options, &d->choice,
							     err) < 0)
		return -1;
	d->encoder_known =
	    gpu_decoder_open(o->device, o->vae, o->vae_options, &d->gpu, &d->encoder_hash);
	if (d->gpu)
		return 0;
	d->kl = kl_decoder_load_model(d->choice.model, engine, o->threads, err);
	if (!d->kl)
		return -1;
	kl_decoder_limit_memory(d->kl, d->memory);
	return open_encoder(d, o, engine, err);
}

/* @path may have no encoder. */
static int open_tiny(struct latent_decoder *d, const struct latent_decoder_options *o,
		     const char *path, const struct vae_engine_ops *engine, struct error *err)
{
	gpu_decoder_tiny(o->device);
	d->tiny = tiny_vae_load(path, VAE_DECODER, engine, o->threads, err);
	if (!d->tiny)
		return -1;
	tiny_vae_limit_memory(d->tiny, d->memory);
	if (!o->encoder)
		return 0;
	if (vae_choice_open(o->vae, o->vae_options, &d->choice, err) < 0)
		return -1;
	return open_encoder(d, o, engine, err);
}

/* What it tells of its model is known as that of files is. */
static int open_remote(struct latent_decoder *d, const struct latent_decoder_options *o,
		       struct error *err)
{
	const struct endpoint_model *told;

	if (remote_vae_open(o->endpoint, &d->remote, err) < 0)
		return -1;
	told = remote_vae_model(d->remote);
	d->name = xstrdup(remote_vae_name(d->remote));
	if (!told->latentd)
		return 0;
	if (!told->decodes || told->fake)
		return error_set(err, ERR_CONFIG, "%s: it encodes only: it has no decoder",
				 d->name);
	/* as with files: a tiny one decodes latents of another, unless they are to be proved */
	d->encoder_known = o->encoder || !vae_config_deterministic(&told->vae);
	d->encoder_hash = told->weights;
	return 0;
}

static int open_decoder(struct latent_decoder *d, const struct latent_decoder_options *o,
			struct error *err)
{
	const struct vae_engine_ops *engine;
	struct vae_place place;
	int r;

	if (o->endpoint)
		return open_remote(d, o, err);
	engine = vae_engine_choose(VAE_FLOAT32, err);
	if (!engine || vae_locate(o->vae, &place, err) < 0)
		return -1;
	d->memory = o->memory ? o->memory : memory_allowed() / 2;
	d->name = xstrdup(place.name);
	if (tiny_weights_exist(place.path))
		r = open_tiny(d, o, place.path, engine, err);
	else
		r = open_kl(d, o, engine, err);
	vae_place_release(&place);
	return r;
}

/* Of the pauses that a person notices. */
static void say_wait(int64_t ms, const char *why)
{
	if (ms >= 1000)
		fprintf(stderr, "waiting %lld s: %s\n", (long long)(ms / 1000), why);
}

int latent_decoder_options_of(const struct read_options *o, struct remote_vae_options *endpoint,
			      struct latent_decoder_options *out, struct error *err)
{
	struct remote_endpoint one = {.url = o->endpoint, .token_file = o->token_file};
	const struct remote_config remote = {&one, 1, {.name = NULL}, o->remote};
	size_t which;

	*out = (struct latent_decoder_options){
	    .vae = o->vae, .vae_options = &o->vae_options, .device = o->device};
	if (!o->endpoint && o->token_file)
		return error_set(err, ERR_CONFIG,
				 "--token-file is for --endpoint, which is missing");
	if (!o->vae && !o->endpoint && strcmp(o->device, "cpu") != 0)
		return error_set(err, ERR_CONFIG,
				 "--device is for --vae, the model that decodes, which is missing");
	if (!o->endpoint)
		return 0;
	if (o->vae || strcmp(o->device, "cpu") != 0)
		return error_set(err, ERR_CONFIG, "%s and --endpoint: decoding is here or there",
				 o->vae ? "--vae" : "--device");
	if (o->token_file && secret_file_check("--token-file", o->token_file, err) < 0)
		return -1;
	if (remote_config_check(&remote, &which, err) < 0)
		return error_wrap(err, "--endpoint");
	*endpoint =
	    (struct remote_vae_options){.ask = {.url = o->endpoint,
						.token_file = o->token_file,
						.ca_file = o->remote.ca_file,
						.proxy = remote_proxy_of(&o->remote),
						.proxy_auth_file = o->remote.proxy_auth_file,
						.timeout_ms = (int64_t)o->remote.timeout,
						.scale_up_ms = (int64_t)o->remote.scale_up_timeout},
					.retries = o->remote.retries,
					.on_wait = say_wait};
	out->endpoint = endpoint;
	return 0;
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
	vae_encoder_free(d->encoder);
	tiny_vae_free(d->tiny);
	remote_vae_close(d->remote);
	encoder_close(d->gpu);
	free(d->name);
	vae_choice_close(&d->choice);
	free(d);
}

const struct vae_config *latent_decoder_config(const struct latent_decoder *d)
{
	const struct endpoint_model *told = d->remote ? remote_vae_model(d->remote) : NULL;

	if (told)
		return told->latentd ? &told->vae : NULL;
	return d->choice.model ? &d->choice.model->config : NULL;
}

const struct vae_preset *latent_decoder_preset(const struct latent_decoder *d)
{
	const struct vae_config *c = latent_decoder_config(d);

	return d->remote && c ? vae_choice_preset_of(c) : d->choice.preset;
}

bool latent_decoder_encodes(const struct latent_decoder *d)
{
	return d->remote ? remote_vae_model(d->remote)->latentd : d->encoder || d->gpu;
}

size_t latent_decoder_channels(const struct latent_decoder *d)
{
	const struct vae_config *c = latent_decoder_config(d);

	if (d->tiny)
		return tiny_vae_latent_channels(d->tiny);
	return c ? c->latent_channels : 0;
}

size_t latent_decoder_downscale(const struct latent_decoder *d)
{
	const struct vae_config *c = latent_decoder_config(d);

	if (d->tiny)
		return tiny_vae_downscale(d->tiny);
	return c ? vae_config_downscale(c) : 0;
}

int latent_decoder_check(const struct latent_decoder *d, const char *key,
			 const struct latent_space *space, struct error *err)
{
	size_t channels = latent_decoder_channels(d);
	char made_by[SHA256_HEX_SIZE], have[SHA256_HEX_SIZE];

	if (channels > 0 && space->vae.latent_channels != channels)
		return error_set(
		    err, ERR_CONFIG,
		    "%s: its latent has %zu channels, %s decodes %zu: it is of another "
		    "model",
		    key, space->vae.latent_channels, d->name, channels);
	if (!d->encoder_known || !space->weights_known ||
	    memcmp(&space->weights, &d->encoder_hash, sizeof(d->encoder_hash)) == 0)
		return 0;
	sha256_hex(&space->weights, made_by);
	sha256_hex(&d->encoder_hash, have);
	return error_set(
	    err, ERR_CONFIG,
	    "%s: it was encoded by another model: vae_sha256 %.12s, that of %s is %.12s", key,
	    made_by, d->name, have);
}

/* ERR_DATA `record`: the model has no tiles of that size. */
static int check_tile(const struct latent_decoder *d, size_t tile, struct error *err)
{
	struct vae_config tiled = *latent_decoder_config(d);
	struct error no_tiles = ERROR_INIT;

	tiled.sample_size = tile;
	if (tile > 0 && vae_config_deterministic(&tiled))
		return error_data(err, "record", "an AutoencoderTiny has no tiles");
	if (tile > 0 && kl_tiles_check(&tiled, &no_tiles) < 0)
		return error_data(err, "record", "%s", no_tiles.message);
	return 0;
}

static int encode(struct latent_decoder *d, size_t tile, const float *pixels,
		  const struct image *image, float *moments, struct error *err)
{
	if (d->kl) /* one of the two has maps at a time */
		kl_decoder_rest(d->kl);
	if (d->tiny)
		tiny_vae_rest(d->tiny);
	return vae_encoder_encode(d->encoder, tile, pixels, image->height, image->width, moments,
				  NULL, err);
}

static int encode_here(struct latent_decoder *d, const struct latent_space *space,
		       const struct image *image, struct ndarray *raw, struct error *err)
{
	const struct vae_config *c = latent_decoder_config(d);
	size_t downscale = vae_config_downscale(c);
	size_t shape[3] = {c->latent_channels, image->height / downscale, image->width / downscale};
	cleanup_ndarray struct ndarray mean = NDARRAY_INIT;
	cleanup_free float *pixels = malloc(image_bytes(image) * sizeof(float)), *moments = NULL;

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

int latent_decoder_encode(struct latent_decoder *d, const struct latent_space *space,
			  const struct image *image, struct ndarray *raw, struct error *err)
{
	if (d->remote && space->tile > 0)
		return error_data(err, "record", "an endpoint encodes no tiles");
	if (d->remote)
		return remote_vae_encode(d->remote, image->pixels, image->height, image->width, raw,
					 err);
	if (check_tile(d, space->tile, err) < 0)
		return -1;
	if (d->gpu)
		return gpu_decoder_mean(d->gpu, space->tile, image, raw, err);
	return encode_here(d, space, image, raw, err);
}

/* A copy of @raw as a decoder takes it that was trained on what a model sees. */
static int normalised(const struct latent_space *space, const struct ndarray *raw,
		      struct ndarray *out, struct error *err)
{
	if (ndarray_alloc(out, DTYPE_F32, 3, raw->shape, err) < 0)
		return -1;
	memcpy(out->data, raw->data, raw->bytes);
	latent_space_normalise(space, out);
	return 0;
}

static int decode_remote(struct latent_decoder *d, const struct latent_space *space,
			 const struct ndarray *raw, struct image *out, struct error *err)
{
	const struct vae_config *c = latent_decoder_config(d);
	bool tiny = c && vae_config_deterministic(c);
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	struct image image = IMAGE_INIT;
	size_t side = 0;

	if ((tiny && normalised(space, raw, &latent, err) < 0) ||
	    remote_vae_decode(d->remote, tiny ? &latent : raw, &image.pixels, &side, err) < 0)
		return -1;
	image.height = raw->shape[1] * side;
	image.width = raw->shape[2] * side;
	*out = image;
	return 0;
}

static int decode_tiny(struct latent_decoder *d, const struct latent_space *space,
		       const struct ndarray *raw, float *pixels, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;

	if (normalised(space, raw, &latent, err) < 0)
		return -1;
	return tiny_vae_decode(d->tiny, latent.data, raw->shape[1], raw->shape[2], pixels, NULL,
			       err);
}

static int decode_here(struct latent_decoder *d, const struct latent_space *space,
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
	if (d->encoder)
		vae_encoder_rest(d->encoder);
	if (d->tiny)
		r = decode_tiny(d, space, raw, pixels, err);
	else if (d->gpu)
		r = gpu_decoder_picture(d->gpu, raw, pixels, err);
	else
		r = kl_decoder_decode(d->kl, raw->data, raw->shape[1], raw->shape[2], pixels, NULL,
				      err);
	if (r < 0)
		return -1;
	pixel_range_stored(image.pixels, pixels, image_bytes(&image));
	*out = image;
	image = (struct image)IMAGE_INIT;
	return 0;
}

int latent_decoder_decode(struct latent_decoder *d, const struct latent_space *space,
			  const struct ndarray *raw, struct image *out, struct error *err)
{
	return (d->remote ? decode_remote : decode_here)(d, space, raw, out, err);
}
