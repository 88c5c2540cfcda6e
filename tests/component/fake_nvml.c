/*
 * libnvidia-ml.so.1 with one process, FAKE_NVML_PID, that has kept the GPU busy to FAKE_NVML_PERCENT since the last question;
 * FAKE_NVML_PID "none" knows no device; FAKE_NVML_PERCENT "" has no new sample, as NVML between two of them.
 */
#include <stdlib.h>
#include <string.h>

struct sample {
	unsigned pid;
	unsigned long long time;
	unsigned sm, memory, encoder, decoder;
};

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device);
int nvmlDeviceGetProcessUtilization(void *device, struct sample *samples, unsigned *n,
				    unsigned long long since);

int nvmlInit_v2(void)
{
	return 0;
}

int nvmlShutdown(void)
{
	return 0;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device)
{
	static int gpu;

	(void)bus;
	*device = &gpu;
	return strcmp(getenv("FAKE_NVML_PID"), "none") == 0 ? 6 : 0;
}

int nvmlDeviceGetProcessUtilization(void *device, struct sample *samples, unsigned *n,
				    unsigned long long since)
{
	(void)device;
	if (!*getenv("FAKE_NVML_PERCENT"))
		return 6; /* NVML_ERROR_NOT_FOUND */
	*samples = (struct sample){.pid = (unsigned)atoi(getenv("FAKE_NVML_PID")),
				   .time = since + 1,
				   .sm = (unsigned)atoi(getenv("FAKE_NVML_PERCENT"))};
	*n = 1;
	return 0;
}
