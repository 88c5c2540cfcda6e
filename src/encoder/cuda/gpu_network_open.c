/* Parameters on the device, and the convolutions that were met. */
#include "gpu_network_parts.h"

#include "plugin_error.h"

#include <stdlib.h>
#include <string.h>

static int put(struct gpu_network *net, const float *values, size_t n,
	       enum latentd_cuda_dtype dtype, void **out, struct latentd_cuda_error *err)
{
	size_t bytes = n * latentd_cuda_dtype_size(dtype);
	void *host = malloc(bytes);
	int r = -1;

	if (!host)
		return plugin_error_memory(err, bytes);
	gpu_convert(host, dtype, values, n);
	*out = net->device->ops->alloc(net->device, bytes, err);
	if (*out)
		r = net->device->ops->upload(net->device, *out, host, bytes, err);
	net->bytes += bytes;
	free(host);
	return r;
}

struct gpu_network *gpu_network_open(const struct latentd_cuda_model *model,
				     struct gpu_device *device, struct latentd_cuda_error *err)
{
	struct gpu_network *net = calloc(1, sizeof(*net));

	if (!net) {
		plugin_error_memory(err, sizeof(*net));
		return NULL;
	}
	net->model = model;
	net->device = device;
	for (size_t i = 0; i < model->n_params; i++) {
		const struct gpu_param *p = &model->params[i];
		/* The libraries' biases are of the maps' type, as diffusers' are. */
		enum latentd_cuda_dtype dtype =
		    p->kind == GPU_NORM ? LATENTD_CUDA_F32 : device->dtype;

		if (put(net, p->weight, p->n_weight, dtype, &net->weights[i], err) < 0 ||
		    put(net, p->bias, p->out, dtype, &net->biases[i], err) < 0) {
			gpu_network_close(net);
			return NULL;
		}
	}
	return net;
}

void gpu_network_close(struct gpu_network *net)
{
	if (!net)
		return;
	for (size_t i = 0; i < net->n_convs; i++)
		net->device->ops->conv_close(net->device, net->convs[i].conv);
	for (size_t i = 0; i < net->model->n_params; i++) {
		net->device->ops->free(net->device, net->weights[i]);
		net->device->ops->free(net->device, net->biases[i]);
	}
	free(net->convs);
	free(net);
}

size_t gpu_network_bytes(const struct gpu_network *net)
{
	return net->bytes;
}

void gpu_network_tap(struct gpu_network *net, gpu_network_tap_fn tap, void *arg)
{
	net->tap = tap;
	net->tap_arg = arg;
}

static int convs_have_room(struct gpu_network *net, struct latentd_cuda_error *err)
{
	size_t capacity = net->convs_capacity ? 2 * net->convs_capacity : 256;
	struct known_conv *more;

	if (net->n_convs < net->convs_capacity)
		return 0;
	more = realloc(net->convs, capacity * sizeof(*more));
	if (!more)
		return plugin_error_set(err, LATENTD_CUDA_NO_MEMORY,
					"no memory for %zu convolutions", capacity);
	net->convs = more;
	net->convs_capacity = capacity;
	return 0;
}

struct gpu_conv *gpu_network_conv(struct gpu_network *net, const struct conv_problem *p,
				  struct latentd_cuda_error *err)
{
	struct known_conv *known;
	char key[LATENTD_CUDA_KEY_SIZE];

	conv_problem_key(p, key, sizeof(key));
	for (size_t i = 0; i < net->n_convs; i++) {
		if (strcmp(net->convs[i].key, key) == 0)
			return net->convs[i].conv;
	}
	if (net->device->go_on && !net->device->go_on(net->device->go_on_arg)) {
		plugin_error_set(err, LATENTD_CUDA_CANCELLED, "cancelled");
		return NULL;
	}
	if (convs_have_room(net, err) < 0)
		return NULL;
	known = &net->convs[net->n_convs];
	if (net->device->ops->conv_open(net->device, p, &known->conv, err) < 0)
		return NULL;
	memcpy(known->key, key, sizeof(key));
	net->n_convs++;
	return known->conv;
}
