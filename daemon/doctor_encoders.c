#include "daemon/doctor.h"

#include "base/text.h"
#include "encoder/encoder_cuda.h"
#include "encoder/endpoint_model.h"
#include "image/resample.h"

enum { GPUS_MAX = 64, ANSWER_MS = 20000 };

static void look_at_gpus(struct doctor *d, const struct cuda_limits *limits)
{
	struct latentd_cuda_device gpus[GPUS_MAX];
	int wanted = cuda_device_of(limits->device);
	struct error err = ERROR_INIT;
	char memory[24], left[24];
	size_t n = 0;
	bool found = false;

	if (encoder_cuda_devices(NULL, gpus, GPUS_MAX, &n, &err) < 0) {
		doctor_say(d, DOCTOR_BAD, "gpu", "docs/gpu.md says what a GPU needs", "%s",
			   err.message);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (wanted != CUDA_ALL_DEVICES && gpus[i].index != wanted)
			continue;
		found = true;
		doctor_say(d, DOCTOR_GOOD, "gpu", NULL, "cuda:%d is a %s, %s of %s free",
			   gpus[i].index, gpus[i].name, text_bytes(gpus[i].memory_free, left),
			   text_bytes(gpus[i].memory, memory));
	}
	if (!found)
		doctor_say(d, DOCTOR_BAD, "gpu", "set device to one that nvidia-smi lists, or all",
			   "there is no cuda:%s; GPUs here: %zu", limits->device, n);
}

static const char *remedy_of(const struct error *err)
{
	switch (err->code) {
	case ERR_TRANSIENT:
		return "is it running, and does the network lead there? curl -v URL";
	case ERR_DATA:
		return "use the same version of latentd on both sides";
	default:
		return "docs/REMOTE.md has what endpoints need";
	}
}

static void look_at_endpoint(struct doctor *d, const struct remote_config *remote,
			     const struct remote_endpoint *endpoint)
{
	const struct endpoint_model_ask ask = {
	    .url = endpoint->url,
	    .token_file = endpoint->token_file,
	    .ca_file = remote->options.ca_file,
	    .proxy = remote_proxy_of(&remote->options),
	    .proxy_auth_file = remote->options.proxy_auth_file,
	    .connect_ms = (int64_t)remote->options.connect_timeout,
	    .timeout_ms = ANSWER_MS,
	};
	struct endpoint_model model;
	struct error err = ERROR_INIT;

	if (endpoint_model_ask(&ask, &model, &err) < 0)
		doctor_say(d, DOCTOR_BAD, "endpoint", remedy_of(&err), "%s", err.message);
	else if (model.latentd)
		doctor_say(d, DOCTOR_GOOD, "endpoint", NULL, "%s: latentd %s with %s",
			   endpoint->url, model.version, model.name);
	else
		doctor_say(d, DOCTOR_GOOD, "endpoint", NULL, "%s answers; no latentd",
			   endpoint->url);
}

static void look_at_encoder(struct doctor *d, const struct encoder_config *encoder)
{
	switch (encoder->type) {
	case ENCODER_TYPE_CPU:
		doctor_say(d, DOCTOR_GOOD, "processor", NULL, "pixels and models with %s",
			   resample_isa());
		break;
	case ENCODER_TYPE_CUDA:
		look_at_gpus(d, &encoder->cuda);
		break;
	case ENCODER_TYPE_REMOTE:
		for (size_t i = 0; i < encoder->remote.n_endpoints; i++)
			look_at_endpoint(d, &encoder->remote, &encoder->remote.endpoints[i]);
		break;
	case ENCODER_TYPE_FAKE:
		break;
	}
}

void doctor_encoders(struct doctor *d, const struct daemon_config *config)
{
	for (size_t i = 0; i < config->n_encoders; i++)
		look_at_encoder(d, &config->encoders[i]);
}
