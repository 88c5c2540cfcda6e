/*
 * What takes a processor some milliseconds: making request bodies, and drawing from moments. Each worker has a PNG encoder.
 */
#include "base/checked.h"
#include "base/thread.h"
#include "encoder/pixel_planes.h"
#include "encoder/remote_parts.h"
#include "image/png_encode.h"

enum { WORK_MAX = 4096, WORKERS_MOST = 4 };

/* Bytes of a sample that is sent as a tensor; 0: a PNG is sent. */
static size_t sample_size(const struct encoder_remote *r)
{
	switch (r->options.send) {
	case ENCODER_REMOTE_FLOAT16:
		return 2;
	case ENCODER_REMOTE_FLOAT32:
		return 4;
	case ENCODER_REMOTE_UINT8:
		return 1;
	case ENCODER_REMOTE_PNG:
		break;
	}
	return 0;
}

size_t remote_work_bytes(const struct encoder_remote *r, const struct encode_batch *batch)
{
	size_t bytes = 0, sample = sample_size(r);

	if (sample == 0)
		return png_encode_bound(batch->width, batch->height);
	if (!size_mul3(batch->width, batch->height, 3 * sample, &bytes))
		return SIZE_MAX;
	return bytes;
}

static int make_tensor(const struct encoder_remote *r, struct remote_item *item, struct error *err)
{
	static const enum dtype dtypes[] = {[1] = DTYPE_U8, [2] = DTYPE_F16, [4] = DTYPE_F32};
	const struct encode_batch *batch = item->batch->batch;
	size_t bytes = remote_work_bytes(r, batch);

	if (buffer_reserve(&item->body, bytes, err) < 0)
		return -1;
	pixel_planes(item->body.data, dtypes[sample_size(r)],
		     r->options.declared ? PIXEL_UNIT : PIXEL_SIGNED, item->image->pixels,
		     batch->width * batch->height);
	item->body.size = bytes;
	return 0;
}

static int make_png(struct png_encoder *png, struct remote_item *item, struct error *err)
{
	const struct encode_batch *batch = item->batch->batch;
	struct buffer *body = &item->body;

	if (png_encode(png, item->image->pixels, batch->width, batch->height, body, err) < 0)
		return -1;
	/* It may wait long, and room was made for the worst. */
	if (body->capacity - body->size > body->size / 8) {
		body->data = xrealloc(body->data, body->size + 1, 1);
		body->capacity = body->size + 1;
	}
	return 0;
}

static int draw(const struct remote_item *item, size_t channels, struct ndarray *out,
		struct error *err)
{
	const struct ndarray *moments = &item->moments;
	size_t shape[3] = {channels, moments->shape[1], moments->shape[2]};

	if (ndarray_alloc(out, DTYPE_F32, 3, shape, err) < 0)
		return -1;
	posterior_apply(POSTERIOR_DRAW, moments->data, channels, shape[1] * shape[2],
			&item->image->content, item->batch->batch->seed, out->data);
	return 0;
}

static void work_on(const struct encoder_remote *r, struct png_encoder *png,
		    struct remote_item *item)
{
	error_clear(&item->error);
	if (item->state == ITEM_DRAWING)
		draw(item, r->caps.latent_channels, &item->image->latent, &item->error);
	else if (r->options.send == ENCODER_REMOTE_PNG)
		make_png(png, item, &item->error);
	else
		make_tensor(r, item, &item->error);
}

static void *work_run(void *arg)
{
	struct encoder_remote *r = arg;
	struct png_encoder *png = png_encoder_new();
	struct remote_item *item;

	while ((item = bounded_queue_pop(r->work))) {
		work_on(r, png, item);
		pthread_mutex_lock(&r->lock);
		item->next = r->worked;
		r->worked = item;
		pthread_mutex_unlock(&r->lock);
		http_multi_wake(r->multi);
	}
	png_encoder_free(png);
	return NULL;
}

void remote_work_give(struct encoder_remote *r, struct remote_item *item)
{
	bounded_queue_push(r->work, item, 0);
}

static size_t worker_count(size_t wanted)
{
	size_t cores = thread_cores(), half = cores > 1 ? cores / 2 : 1;

	if (wanted > 0)
		return wanted;
	return half < WORKERS_MOST ? half : WORKERS_MOST;
}

int remote_work_open(struct encoder_remote *r, struct error *err)
{
	size_t n = worker_count(r->options.threads);

	r->work = bounded_queue_new(WORK_MAX, SIZE_MAX);
	r->workers = xcalloc(n, sizeof(*r->workers));
	for (; r->n_workers < n; r->n_workers++) {
		if (thread_start(&r->workers[r->n_workers], "remote-work", work_run, r, err) < 0)
			return -1;
	}
	return 0;
}

void remote_work_close(struct encoder_remote *r)
{
	if (r->work)
		bounded_queue_close(r->work);
	for (size_t i = 0; i < r->n_workers; i++)
		thread_join(&r->workers[i]);
	free(r->workers);
	bounded_queue_free(r->work);
}
