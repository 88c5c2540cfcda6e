/* One image to a file with its latent. */
#include "daemon/commands.h"
#include "daemon/source_pixels.h"
#include "daemon/vae_choice.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/memory_allowed.h"
#include "base/text.h"
#include "encoder/pixel_range.h"
#include "vae/safetensors.h"
#include "vae/vae_encoder.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PIXELS_MAX ((size_t)64 << 20)

/* Whole, upright; a side that is no multiple of the model's is shrunk to one, as VaeImageProcessor does. */
static int place(void *arg, const struct image_header *header, struct render_geometry *geometry,
		 struct error *err)
{
	const size_t *multiple = arg;
	size_t width, height;

	image_oriented_size(header, &width, &height);
	if (width < *multiple || height < *multiple)
		return error_data(err, "too_small",
				  "%zux%zu pixels: the model takes multiples of "
				  "%zu",
				  width, height, *multiple);
	width -= width % *multiple;
	height -= height % *multiple;
	*geometry = (struct render_geometry){width, height, 0, 0, width, height, FILTER_LANCZOS};
	return 0;
}

static int read_image(const char *path, size_t multiple, struct image *out, struct error *err)
{
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_close int fd = file_open(path, O_RDONLY, 0, err);
	struct source_pixels *reader = NULL;
	int r = fd < 0 ? -1 : source_pixels_open(PIXELS_MAX, &reader, err);
	char quoted[TEXT_QUOTE_SIZE];

	if (r == 0 && source_pixels_read(reader, fd, place, &multiple, &policy, out, NULL, err) < 0)
		r = error_wrap(err, "%s", text_quote(path, quoted));
	source_pixels_close(reader);
	return r;
}

/* The mean, [1, C, h, w], and the factors that a model wants applied to it. */
static int write_latent(const char *path, const struct vae_config *c, const float *moments,
			size_t height, size_t width, struct error *err)
{
	static const char *const names[] = {"latent", "scaling_factor", "shift_factor"};
	const size_t shapes[3][4] = {{1, c->latent_channels, height, width}, {1}, {1}};
	struct ndarray arrays[3] = {NDARRAY_INIT, NDARRAY_INIT, NDARRAY_INIT};
	struct safetensors_entry entries[3];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(arrays); i++) {
		entries[i] = (struct safetensors_entry){names[i], &arrays[i]};
		r = ndarray_alloc(&arrays[i], DTYPE_F32, i ? 1 : 4, shapes[i], err);
	}
	if (r == 0) {
		memcpy(arrays[0].data, moments, arrays[0].bytes);
		*(float *)arrays[1].data = (float)c->scaling_factor;
		*(float *)arrays[2].data = c->has_shift_factor ? (float)c->shift_factor : 0;
		r = safetensors_write(path, entries, ARRAY_SIZE(entries), err);
	}
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		ndarray_release(&arrays[i]);
	return r;
}

static int encode_pixels(struct vae_encoder *vae, const struct image *image, const char *path,
			 struct error *err)
{
	const struct vae_config *c = vae_encoder_config(vae);
	size_t height = image->height / vae_config_downscale(c);
	size_t width = image->width / vae_config_downscale(c);
	cleanup_free float *pixels = malloc(image_bytes(image) * sizeof(float)), *moments = NULL;

	moments = malloc(2 * c->latent_channels * height * width * sizeof(float));
	if (!pixels || !moments)
		return error_set(err, ERR_NOMEM, "no memory for %zux%zu pixels", image->width,
				 image->height);
	pixel_range_signed(pixels, image->pixels, image_bytes(image));
	if (vae_encoder_encode(vae, 0, pixels, image->height, image->width, moments, NULL, err) <
		0 ||
	    write_latent(path, c, moments, height, width, err) < 0)
		return -1;
	printf("%s: [1, %zu, %zu, %zu] of %zux%zu pixels, %s\n", path, c->latent_channels, height,
	       width, image->width, image->height,
	       vae_config_deterministic(c) ? "scaled" : "not scaled");
	return 0;
}

static int encode_image(const struct read_options *o, struct vae_choice *choice, struct error *err)
{
	const struct vae_engine_ops *engine = vae_engine_choose(VAE_FLOAT32, err);
	cleanup_image struct image image = IMAGE_INIT;
	struct vae_encoder *vae;
	int r;

	if (!engine || vae_choice_open(o->vae, &o->vae_options, choice, err) < 0 ||
	    read_image(o->words[0], vae_choice_multiple(choice), &image, err) < 0)
		return -1;
	vae = vae_encoder_load(choice->model, engine, 0, err);
	if (!vae)
		return -1;
	vae_encoder_limit_memory(vae, memory_allowed() / 2);
	r = encode_pixels(vae, &image, o->words[1], err);
	vae_encoder_free(vae);
	return r;
}

int cmd_encode_image(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"vae vae-options", 2,
						    "encode-image IN OUT.safetensors --vae VAE"};
	struct read_options options = {.out = NULL};
	struct vae_choice choice = VAE_CHOICE_INIT;
	int r = read_options_parse(argc, argv, &command, &options);
	const char *dot;

	if (r != 0)
		return read_options_exit(r);
	dot = strrchr(options.words[1], '.');
	if (!options.vae)
		return error_set(err, ERR_CONFIG, "--vae is missing: the model to encode with");
	if (!dot || strcasecmp(dot, ".safetensors") != 0)
		return error_set(err, ERR_CONFIG, "%s: expected a name that ends in .safetensors",
				 options.words[1]);
	r = encode_image(&options, &choice, err);
	vae_choice_close(&choice);
	return r < 0 ? -1 : EXIT_OK;
}
