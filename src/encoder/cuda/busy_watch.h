/*
 * Whether another process computes on a GPU, as NVML sees it. NVML comes with the driver and is looked for when it is
 * needed; where it stops telling, nobody else computes. In a container with process numbers of its own, NVML's are
 * others, and this process looks like another.
 */
#ifndef LATENTD_ENCODER_CUDA_BUSY_WATCH_H
#define LATENTD_ENCODER_CUDA_BUSY_WATCH_H

#include <stdbool.h>

struct busy_watch;

/*
 * @bus: the device's PCI bus id as CUDA prints it. NULL, and *why says it, where there is no NVML, where it does not know the
 * device, or does not tell what processes do on it: of a MIG instance, or for want of permission.
 */
struct busy_watch *busy_watch_open(const char *bus, const char **why);
void busy_watch_close(struct busy_watch *w);
/*
 * Whether any process but this one keeps the GPU busy: by NVML's last sample, for a second at most, as it tells nothing of
 * a process that is gone. NULL is fine: false.
 */
bool busy_watch_busy(struct busy_watch *w);

#endif
