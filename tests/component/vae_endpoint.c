#include "tests/component/vae_endpoint.h"

#include "base/checked.h"
#include "base/hash.h"
#include "encoder/encoder_fake.h"
#include "net/vae_wire.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define REDIRECT "Location: http://127.0.0.1:1/there?key=Secret\r\n"
#define ZEROS	 "0000000000000000000000000000000000000000000000000000000000000000"

void vae_endpoint_moments(const void *body, size_t size, size_t pixels, float *moments)
{
	struct hash128 content = hash128_of(body, size);

	encoder_fake_moments(&content, ENDPOINT_CHANNELS, pixels, moments);
}

static const char *name_of(const struct vae_endpoint *e)
{
	return e->name ? e->name : "tests";
}

static const char *weights_of(const struct vae_endpoint *e)
{
	const char *weights = atomic_load(&e->weights);

	return weights ? weights : ZEROS;
}

static void answer_model(const struct vae_endpoint *e, struct loopback_reply *reply)
{
	if (!e->latentd) {
		reply->status = 404;
		buffer_append_string(&reply->body, "{\"error\": \"Not Found\"}");
		return;
	}
	buffer_appendf(&reply->body,
		       "{\"latentd\":\"0.1.0\",\"name\":\"%s\",\"size_multiple\":8,"
		       "\"latent_channels\":%d,\"downscale\":%d,\"recipe_vae\":{"
		       "\"class\":\"AutoencoderKL\",\"block_out_channels\":[32,32,32,32],"
		       "\"latent_channels\":%d,\"scaling_factor\":0.5,\"shift_factor\":0.25,"
		       "\"weights_sha256\":\"%s\"}}",
		       name_of(e), ENDPOINT_CHANNELS, ENDPOINT_DOWNSCALE, ENDPOINT_CHANNELS,
		       weights_of(e));
}

/* Width and height: of the tensor, or out of the PNG's header. */
static void size_of(const struct loopback_request *request, const struct vae_wire_query *q,
		    size_t *width, size_t *height)
{
	if (q->ndim == 4) {
		*height = q->shape[2];
		*width = q->shape[3];
	} else if (request->body_size > 24) {
		*width = get_u32be(request->body + 16);
		*height = get_u32be(request->body + 20);
	}
}

/* Says what computed it, as a latentd does. */
static void sign(const struct vae_endpoint *e, struct loopback_reply *reply)
{
	size_t n = strlen(reply->headers);

	snprintf(reply->headers + n, sizeof(reply->headers) - n,
		 VAE_WIRE_HEADER_LATENTD ": 0.1.0\r\n" VAE_WIRE_HEADER_MODEL
					 ": %s\r\n" VAE_WIRE_HEADER_WEIGHTS
					 ": %s\r\n" VAE_WIRE_HEADER_PRECISION ": float32\r\n",
		 name_of(e), weights_of(e));
}

static void answer_latent(const struct vae_endpoint *e, const struct loopback_request *request,
			  enum endpoint_fault fault, struct loopback_reply *reply)
{
	struct vae_wire_query q = VAE_WIRE_QUERY_INIT;
	const char *query = strchr(request->target, '?');
	struct error err = ERROR_INIT;
	size_t width = 64, height = 64, channels = ENDPOINT_CHANNELS, pixels, n;
	cleanup_buffer struct buffer shape = BUFFER_INIT;
	cleanup_free float *moments = NULL;
	size_t size = request->body_size;
	enum dtype dtype;

	if (query && vae_wire_query_parse(query + 1, &q, &err) < 0) {
		reply->status = 400;
		buffer_appendf(&reply->body, "{\"error\": \"%s\"}", err.message);
		return;
	}
	size_of(request, &q, &width, &height);
	height /= ENDPOINT_DOWNSCALE;
	width /= ENDPOINT_DOWNSCALE;
	pixels = width * height;
	moments = xmalloc(2 * channels * pixels * sizeof(*moments));
	if (e->images_kept && size > e->images_kept)
		size = e->images_kept;
	vae_endpoint_moments(request->body, size, pixels, moments);
	if (q.posterior == VAE_WIRE_MOMENTS)
		channels *= 2;
	n = channels * pixels;
	for (size_t i = 0; i < n; i++)
		moments[i] =
		    (float)(((double)moments[i] - (q.has_shift_factor ? q.shift_factor : 0)) *
			    (q.has_scaling_factor ? q.scaling_factor : 1));
	if (fault == FAULT_NAN)
		moments[n / 2] = NAN;
	dtype = vae_wire_reply_dtype(&q, DTYPE_F16);
	vae_wire_write(dtype, moments, n, &reply->body);
	vae_wire_shape_format(4,
			      (size_t[]){1, fault == FAULT_OTHER_MODEL ? 16 : channels,
					 fault == FAULT_WRONG_SIZE ? height / 2 : height, width},
			      &shape);
	if (fault == FAULT_WRONG_SIZE)
		reply->body.size = reply->body.size / height * (height / 2);
	if (fault == FAULT_OTHER_MODEL)
		buffer_append_zeros(&reply->body, (16 - channels) * pixels * dtype_size(dtype));
	if (fault == FAULT_SHORT)
		reply->body.size -= 2;
	snprintf(reply->headers, sizeof(reply->headers), "shape: %s\r\ndtype: %s\r\n",
		 fault == FAULT_BAD_SHAPE ? "1x4x8x8" : (const char *)shape.data,
		 fault == FAULT_WRONG_DTYPE ? "int64" : dtype_name(dtype));
	if (fault == FAULT_CUT)
		reply->how = LOOPBACK_CUT;
}

static void say(struct loopback_reply *reply, int status, const char *headers, const char *body)
{
	reply->status = status;
	snprintf(reply->headers, sizeof(reply->headers), "%s", headers);
	buffer_append_string(&reply->body, body);
}

/* False: it is not one that answers without a latent. */
static bool answer_fault(const struct loopback_request *request, enum endpoint_fault fault,
			 struct loopback_reply *reply)
{
	static const struct {
		int status;
		const char *headers, *body;
	} said[FAULT_COUNT] = {
	    [FAULT_400] = {400, "", "{\"error\": \"CUDA out of memory\"}"},
	    [FAULT_401] = {401, "", "{\"error\": \"Invalid credentials\"}"},
	    [FAULT_404] = {404, "", "{\"error\": \"Not Found\"}"},
	    [FAULT_413] = {413, "", "{\"error\": \"too many pixels\"}"},
	    [FAULT_415_UNLESS_TYPED] = {415, "", "{\"error\": \"Unsupported\"}"},
	    [FAULT_400_UNLESS_TYPED] = {400, "",
					"{\"error\": \"Content type \\\"None\\\" not supported\"}"},
	    [FAULT_422] = {422, "", "{\"error\": \"not an image\"}"},
	    [FAULT_429] = {429, "Retry-After: 1\r\n", "{\"error\": \"slow down\"}"},
	    [FAULT_500] = {500, "", "{\"error\": \"oops\"}"},
	    [FAULT_503] = {503, "", "503 Service Unavailable"},
	    [FAULT_503_AFTER] = {503, "Retry-After: 1\r\n", "{\"error\": \"queue is full\"}"},
	    [FAULT_HTML] = {200, "Content-Type: text/html\r\n", "<html>Welcome</html>"},
	    [FAULT_502_HTML] = {502, "Content-Type: text/html\r\n", "<html>Bad gateway</html>"},
	    [FAULT_301] = {301, REDIRECT, ""},
	    [FAULT_302] = {302, REDIRECT, ""},
	    [FAULT_303] = {303, REDIRECT, ""},
	    [FAULT_307] = {307, REDIRECT, ""},
	    [FAULT_308] = {308, REDIRECT, ""},
	    [FAULT_400_TLS] = {400, "",
			       "<html><h1>400 Bad Request</h1>"
			       "The plain HTTP request was sent to HTTPS port</html>"},
	};
	bool typed = strcasestr(request->head, "\r\nContent-Type:") != NULL;

	if ((fault == FAULT_415_UNLESS_TYPED || fault == FAULT_400_UNLESS_TYPED) && typed)
		return false;
	if (fault == FAULT_CLOSE || fault == FAULT_NEVER) {
		reply->how = fault == FAULT_CLOSE ? LOOPBACK_CLOSE : LOOPBACK_NEVER;
		return true;
	}
	if (fault == FAULT_GARBAGE || fault == FAULT_TLS) {
		reply->how = LOOPBACK_RAW;
		buffer_append_string(&reply->body, fault == FAULT_TLS ? "\x15\x03\x03"
								      : "SSH-2.0-OpenSSH_9.2\r\n");
		return true;
	}
	if (said[fault].status == 0)
		return false;
	say(reply, said[fault].status, said[fault].headers, said[fault].body);
	return true;
}

static void answer(void *arg, const struct loopback_request *request, struct loopback_reply *reply)
{
	struct vae_endpoint *e = arg;
	enum endpoint_fault fault = FAULT_NONE;
	size_t n;

	if (strcasestr(request->head, "X-Scale-Up-Timeout:"))
		atomic_fetch_add(&e->wakes, 1);
	if (!request->post) {
		atomic_fetch_add(&e->questions, 1);
		answer_model(e, reply);
		return;
	}
	n = atomic_fetch_add(&e->posts, 1);
	snprintf(e->last_head, sizeof(e->last_head), "%s", request->head);
	snprintf(e->last_target, sizeof(e->last_target), "%s", request->target);
	reply->delay_ms = atomic_load(&e->delay_ms);
	if (e->script)
		fault = e->script(e->arg, n);
	if (!answer_fault(request, fault, reply))
		answer_latent(e, request, fault, reply);
	if (e->latentd && !atomic_load(&e->unsigned_replies))
		sign(e, reply);
}

void vae_endpoint_start(struct vae_endpoint *e)
{
	const struct loopback_options options = {
	    .answer = answer, .arg = e, .body_kept = e->images_kept, .upload_max = e->upload_max};

	e->server = loopback_start(&options);
}

const char *vae_endpoint_url(const struct vae_endpoint *e)
{
	return loopback_url(e->server);
}

void vae_endpoint_stop(struct vae_endpoint *e)
{
	loopback_stop(e->server);
	e->server = NULL;
}
