/* Time, as the engine's host side counts it. */
#ifndef LATENTD_ENCODER_CUDA_GPU_CLOCK_H
#define LATENTD_ENCODER_CUDA_GPU_CLOCK_H

#include <stdint.h>
#include <time.h>

#define GPU_CLOCK_NEVER INT64_MAX

/* Microseconds since some moment. */
static inline int64_t gpu_clock_us(void)
{
	struct timespec t = {0, 0};

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* When @ms from now are over; negative: never. */
static inline int64_t gpu_clock_deadline(int ms)
{
	return ms < 0 ? GPU_CLOCK_NEVER : gpu_clock_us() + (int64_t)ms * 1000;
}

static inline void gpu_clock_sleep_us(int64_t us)
{
	struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};

	nanosleep(&t, NULL);
}

#endif
