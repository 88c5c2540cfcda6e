/*
 * When an engine may start its next part: by its share of the GPU's time, and by what other processes do on it.
 *
 *	gpu_pace_open(&pace, share, bus, err)
 *	if (gpu_pace_wait_us(&pace) == 0) ... a part runs for ms milliseconds ...
 *	gpu_pace_ran(&pace, ms)
 *	gpu_pace_close(&pace)
 */
#ifndef LATENTD_ENCODER_CUDA_GPU_PACE_H
#define LATENTD_ENCODER_CUDA_GPU_PACE_H

#include "busy_watch.h"
#include "latentd_cuda.h"

struct gpu_pace {
	double share;
	struct busy_watch *watch;
	int64_t not_before; /* gpu_clock_us() */
};

/*
 * @share: 0 < share < 1; all else is 1. @bus: the GPU's, where it is to be left to other processes; NULL: it is not.
 * LATENTD_CUDA_UNSUPPORTED: NVML does not tell of it.
 */
int gpu_pace_open(struct gpu_pace *p, double share, const char *bus,
		  struct latentd_cuda_error *err);
void gpu_pace_close(struct gpu_pace *p);
/* 0: now; else when to ask again. */
int64_t gpu_pace_wait_us(struct gpu_pace *p);
/* A part is over that kept the device busy for @ms. */
void gpu_pace_ran(struct gpu_pace *p, double ms);

#endif
