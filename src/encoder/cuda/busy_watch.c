/* The few functions of nvml.h that are used, declared here: the header is not in every CUDA toolkit. */
#include "busy_watch.h"

#include "gpu_clock.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_SAMPLES = 256, BUSY_PERCENT = 5 };

/* NVML samples once in up to a second, and tells nothing between. */
enum { SAMPLE_US = 1000000 };

typedef void *nvml_device;

struct nvml_sample {
	unsigned pid;
	unsigned long long time;
	unsigned sm, memory, encoder, decoder; /* percent */
};

struct busy_watch {
	void *library;
	nvml_device device;
	unsigned long long last;
	int64_t busy_until; /* gpu_clock_us() */
	int (*utilization)(nvml_device, struct nvml_sample *, unsigned *, unsigned long long);
	int (*shutdown)(void);
};

/* What NVML's question about processes may answer: nothing since, and more than there was room for. */
enum { NVML_NOT_SUPPORTED = 3, NVML_NO_PERMISSION = 4, NVML_NOT_FOUND = 6, NVML_MORE = 7 };

/* NULL: it tells. */
static const char *why_it_does_not_tell(struct busy_watch *w)
{
	struct nvml_sample samples[MAX_SAMPLES];
	unsigned n = MAX_SAMPLES;

	switch (w->utilization(w->device, samples, &n, 0)) {
	case 0:
	case NVML_NOT_FOUND:
	case NVML_MORE:
		return NULL;
	case NVML_NOT_SUPPORTED:
		return "NVML does not tell what others do on this GPU, as of a MIG instance";
	case NVML_NO_PERMISSION:
		return "NVML does not let this user see what others do on this GPU";
	default:
		return "NVML fails where it is asked what others do on this GPU";
	}
}

/* NULL: done. */
static const char *connect_to(struct busy_watch *w, const char *bus)
{
	int (*init)(void);
	int (*by_bus)(const char *, nvml_device *);

	w->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!w->library)
		return "there is no NVML (libnvidia-ml.so.1 of the driver)";
	*(void **)&init = dlsym(w->library, "nvmlInit_v2");
	*(void **)&by_bus = dlsym(w->library, "nvmlDeviceGetHandleByPciBusId_v2");
	*(void **)&w->utilization = dlsym(w->library, "nvmlDeviceGetProcessUtilization");
	*(void **)&w->shutdown = dlsym(w->library, "nvmlShutdown");
	if (!init || !by_bus || !w->utilization || !w->shutdown || init() != 0) {
		w->shutdown = NULL;
		return "NVML (libnvidia-ml.so.1 of the driver) does not work here";
	}
	if (by_bus(bus, &w->device) != 0)
		return "NVML does not know this GPU";
	return why_it_does_not_tell(w);
}

struct busy_watch *busy_watch_open(const char *bus, const char **why)
{
	struct busy_watch *w = calloc(1, sizeof(*w));

	*why = w ? connect_to(w, bus) : "no memory";
	if (w && *why) {
		busy_watch_close(w);
		return NULL;
	}
	return w;
}

void busy_watch_close(struct busy_watch *w)
{
	if (!w)
		return;
	if (w->shutdown)
		w->shutdown();
	if (w->library)
		dlclose(w->library);
	free(w);
}

bool busy_watch_busy(struct busy_watch *w)
{
	struct nvml_sample samples[MAX_SAMPLES];
	unsigned n = MAX_SAMPLES, self = (unsigned)getpid();
	unsigned long long since = w ? w->last : 0;
	int64_t now = gpu_clock_us();
	bool told = false, busy = false;

	if (!w)
		return false;
	if (w->utilization(w->device, samples, &n, since) != 0)
		n = 0; /* nothing since */
	for (unsigned i = 0; i < n && i < MAX_SAMPLES; i++) {
		told = told || samples[i].time > since;
		if (samples[i].time > w->last)
			w->last = samples[i].time;
		if (samples[i].pid != self && samples[i].time > since &&
		    samples[i].sm >= BUSY_PERCENT)
			busy = true;
	}
	if (told)
		w->busy_until = busy ? now + SAMPLE_US : now;
	return now < w->busy_until;
}
