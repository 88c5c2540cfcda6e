#include "tests/component/remote_rig.h"

#include "tests/testing.h"

#include "base/checked.h"
#include "base/clock.h"
#include "image/png_encode.h"

#include <string.h>

uint8_t remote_rig_images[RIG_IMAGES][RIG_HEIGHT][RIG_WIDTH][3];

int remote_rig_setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(remote_rig_images); i++)
		(&remote_rig_images[0][0][0][0])[i] = (uint8_t)(i * 7 + (i >> 9));
	return 0;
}

static struct vae_config config(void)
{
	struct vae_config vae;

	vae_config_defaults(VAE_CLASS_KL, &vae);
	vae.blocks = 4;
	vae.latent_channels = RIG_C;
	vae.scaling_factor = 0.5;
	vae.has_shift_factor = true;
	vae.shift_factor = 0.25;
	return vae;
}

struct remote_rig *remote_rig_new(size_t n, bool latentd)
{
	struct remote_rig *rig = xcalloc(1, sizeof(*rig));

	rig->options = (struct encoder_remote_options)ENCODER_REMOTE_OPTIONS_INIT;
	rig->options.endpoints = rig->endpoints;
	rig->options.n_endpoints = n;
	rig->options.name = "tests";
	rig->options.vae = config();
	rig->options.declared = !latentd;
	rig->options.proxy = "";
	rig->options.timeout_ms = 20000;
	rig->options.threads = 1;
	for (size_t i = 0; i < n; i++)
		rig->servers[i].latentd = latentd;
	return rig;
}

void remote_rig_guard(struct remote_rig *rig, uint64_t requests_per_hour, uint64_t bytes_per_day)
{
	const struct cost_limits limits = {.requests_per_hour = requests_per_hour,
					   .bytes_per_day = bytes_per_day};

	cost_guard_init(&rig->guard, &limits, clock_mono_ms());
	rig->options.guard = &rig->guard;
}

void remote_rig_open(struct remote_rig *rig)
{
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < rig->options.n_endpoints; i++) {
		vae_endpoint_start(&rig->servers[i]);
		rig->endpoints[i].url = vae_endpoint_url(&rig->servers[i]);
	}
	assert_ok(encoder_remote_open(&rig->options, &rig->encoder, &err), &err);
}

void remote_rig_free(struct remote_rig *rig)
{
	encoder_close(rig->encoder);
	for (size_t i = 0; i < RIG_SERVERS; i++)
		vae_endpoint_stop(&rig->servers[i]);
	if (rig->options.guard == &rig->guard)
		cost_guard_release(&rig->guard);
	free(rig);
}

struct encode_batch *remote_rig_batch(size_t n, enum posterior posterior)
{
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = RIG_WIDTH;
	batch->height = RIG_HEIGHT;
	batch->posterior = posterior;
	batch->seed = 5;
	for (size_t i = 0; i < n; i++) {
		batch->items[i].pixels = &remote_rig_images[i % RIG_IMAGES][0][0][0];
		batch->items[i].content =
		    hash128_of(batch->items[i].pixels, sizeof(remote_rig_images[0]));
	}
	return batch;
}

void remote_rig_submit(struct remote_rig *rig, struct encode_batch *batch)
{
	struct error err = ERROR_INIT;

	assert_ok(encoder_submit(rig->encoder, batch, &err), &err);
}

struct encode_batch *remote_rig_collect(struct remote_rig *rig)
{
	struct encode_batch *done = NULL;
	struct error err = ERROR_INIT;

	assert_ok(encoder_collect(rig->encoder, 30000, &done, &err), &err);
	return done;
}

struct encode_batch *remote_rig_encode(struct remote_rig *rig, size_t n, enum posterior posterior)
{
	remote_rig_submit(rig, remote_rig_batch(n, posterior));
	return remote_rig_collect(rig);
}

struct encoder_remote_endpoint_view remote_rig_view(const struct remote_rig *rig, size_t i)
{
	struct encoder_remote_endpoint_view view;

	assert_true(encoder_remote_endpoint_view(rig->encoder, i, &view));
	return view;
}

static struct buffer body_of(size_t i, enum encoder_remote_send send, enum pixel_range range)
{
	struct buffer body = BUFFER_INIT;
	struct png_encoder *png = png_encoder_new();
	struct error err = ERROR_INIT;

	assert_ok(buffer_reserve(&body, sizeof(remote_rig_images[0]) * 4, &err), &err);
	if (send == ENCODER_REMOTE_PNG) {
		assert_ok(png_encode(png, &remote_rig_images[i][0][0][0], RIG_WIDTH, RIG_HEIGHT,
				     &body, &err),
			  &err);
	} else {
		enum dtype dtype = send == ENCODER_REMOTE_UINT8	    ? DTYPE_U8
				   : send == ENCODER_REMOTE_FLOAT16 ? DTYPE_F16
								    : DTYPE_F32;

		pixel_planes_plain(body.data, dtype, range, &remote_rig_images[i][0][0][0],
				   RIG_WIDTH * RIG_HEIGHT);
		body.size = sizeof(remote_rig_images[0]) * dtype_size(dtype);
	}
	png_encoder_free(png);
	return body;
}

void remote_rig_moments(size_t i, enum encoder_remote_send send, enum pixel_range range,
			float moments[2 * RIG_C * RIG_PIXELS])
{
	cleanup_buffer struct buffer body = body_of(i, send, range);

	vae_endpoint_moments(body.data, body.size, RIG_PIXELS, moments);
}

void assert_rig_mean(const struct encode_item *item, size_t i, enum encoder_remote_send send)
{
	float want[2 * RIG_C * RIG_PIXELS];

	remote_rig_moments(i, send, PIXEL_SIGNED, want);
	assert_ok(item->error.code, &item->error);
	assert_int_equal(item->latent.bytes, RIG_C * RIG_PIXELS * sizeof(float));
	assert_memory_equal(item->latent.data, want, item->latent.bytes);
}

enum endpoint_fault fault_first(void *arg, size_t n)
{
	return n == 0 ? *(const enum endpoint_fault *)arg : FAULT_NONE;
}

enum endpoint_fault fault_always(void *arg, size_t n)
{
	(void)n;
	return *(const enum endpoint_fault *)arg;
}
