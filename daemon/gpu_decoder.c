#include "daemon/gpu_decoder.h"

#include "daemon/encode_cuda.h"

#include <stdio.h>
#include <string.h>

static void say_processor(const char *device, const char *why)
{
	fprintf(stderr, "decoding on the processor, not on %s: %s\n", device, why);
}

bool gpu_decoder_open(const char *device, const char *vae, const struct vae_options *options,
		      struct encoder **out, struct sha256 *hash)
{
	static const struct cuda_limits all_of_it = {.memory = "80%", .gpu_share = 1};
	const struct recipe_options recipe = {
	    .vae = vae, .vae_options = *options, .precision = "f32"};
	struct encode_model model = {.fake = false};
	struct error why = ERROR_INIT, none_left_out = ERROR_INIT;
	struct encoder *gpu = NULL;
	struct cuda_limits limits;

	if (!device || !cuda_choice_limits(device, &all_of_it, &limits))
		return false;
	if (encode_cuda_open(&recipe, &limits, true, &model, &gpu, &none_left_out, &why) < 0) {
		say_processor(device, why.message);
		return false;
	}
	if (!encoder_caps(gpu)->decodes) { /* the processor's decoder says what is missing */
		encoder_close(gpu);
		return false;
	}
	*hash = model.weights;
	*out = gpu;
	return true;
}

void gpu_decoder_tiny(const char *device)
{
	if (device && strcmp(device, "cpu") != 0)
		say_processor(device, "the CUDA engine computes no AutoencoderTiny");
}

/* A batch of one, which is freed. @result: its latent, or its picture */
static int compute(struct encoder *gpu, struct encode_batch *batch, struct ndarray *result,
		   struct error *err)
{
	struct encode_batch *done = NULL;
	struct encode_item *item = &batch->items[0];
	int r = encoder_submit(gpu, batch, err);

	if (r == 0)
		r = encoder_collect(gpu, -1, &done, err);
	if (r == 0 && item->error.code != ERR_NONE) {
		*err = item->error;
		r = -1;
	}
	if (r == 0) {
		*result = item->latent;
		item->latent = (struct ndarray)NDARRAY_INIT;
	}
	encode_batch_free(batch);
	return r;
}

int gpu_decoder_picture(struct encoder *gpu, const struct ndarray *raw, float *pixels,
			struct error *err)
{
	size_t scale = encoder_caps(gpu)->downscale;
	struct encode_batch *batch = encode_batch_new(1);
	cleanup_ndarray struct ndarray picture = NDARRAY_INIT;

	batch->height = raw->shape[1] * scale;
	batch->width = raw->shape[2] * scale;
	batch->decode = true;
	batch->items[0].values = raw->data;
	if (compute(gpu, batch, &picture, err) < 0)
		return -1;
	memcpy(pixels, picture.data, picture.bytes);
	return 0;
}

int gpu_decoder_mean(struct encoder *gpu, size_t tile, const struct image *image,
		     struct ndarray *raw, struct error *err)
{
	struct encode_batch *batch = encode_batch_new(1);

	batch->width = image->width;
	batch->height = image->height;
	batch->tile = tile;
	batch->posterior = POSTERIOR_MEAN;
	batch->items[0].pixels = image->pixels;
	return compute(gpu, batch, raw, err);
}
