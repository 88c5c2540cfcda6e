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

static bool connect_to(struct busy_watch *w, const char *bus)
{
	int (*init)(void);
	int (*by_bus)(const char *, nvml_device *);

	w->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!w->library)
		return false;
	*(void **)&init = dlsym(w->library, "nvmlInit_v2");
	*(void **)&by_bus = dlsym(w->library, "nvmlDeviceGetHandleByPciBusId_v2");
	*(void **)&w->utilization = dlsym(w->library, "nvmlDeviceGetProcessUtilization");
	*(void **)&w->shutdown = dlsym(w->library, "nvmlShutdown");
	if (!init || !by_bus || !w->utilization || !w->shutdown || init() != 0) {
		w->shutdown = NULL;
		return false;
	}
	return by_bus(bus, &w->device) == 0;
}

struct busy_watch *busy_watch_open(const char *bus)
{
	struct busy_watch *w = calloc(1, sizeof(*w));

	if (w && !connect_to(w, bus)) {
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
