/*
 * libnvidia-ml.so.1 with one process, FAKE_NVML_PID, that has kept the GPU busy to FAKE_NVML_PERCENT since the last question;
 * FAKE_NVML_PID "none" knows no device, "mig" tells nothing of its processes; FAKE_NVML_PERCENT "", or none, has no new
 * sample, as NVML between two of them.
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
	const char *percent = getenv("FAKE_NVML_PERCENT");

	(void)device;
	if (strcmp(getenv("FAKE_NVML_PID"), "mig") == 0)
		return 3; /* NVML_ERROR_NOT_SUPPORTED */
	if (!percent || !*percent)
		return 6; /* NVML_ERROR_NOT_FOUND */
	*samples = (struct sample){.pid = (unsigned)atoi(getenv("FAKE_NVML_PID")),
				   .time = since + 1,
				   .sm = (unsigned)atoi(percent)};
	*n = 1;
	return 0;
}
