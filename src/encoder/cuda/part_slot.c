#include "part_slot.h"

#include "plugin_error.h"

enum { MOST_IMAGES = 64 }; /* gpu_plan_good_batch() */

int part_slot_pin(void **p, size_t *size, size_t bytes, struct latentd_cuda_error *err)
{
	cudaError_t status;

	if (bytes <= *size)
		return 0;
	cudaFreeHost(*p);
	*p = NULL;
	*size = 0;
	status = cudaHostAlloc(p, bytes, cudaHostAllocDefault);
	if (status != cudaSuccess) {
		cudaGetLastError(); /* not to be told by the next launch */
		*p = NULL;
		return plugin_error_cuda(err, (int)status, "page-locked memory of the host");
	}
	*size = bytes;
	return 0;
}

int part_slot_open(struct part_slot *s, struct latentd_cuda_error *err)
{
	TRY_CUDA(cudaEventCreateWithFlags(&s->copied, cudaEventDisableTiming));
	TRY_CUDA(cudaEventCreate(&s->began));
	TRY_CUDA(cudaEventCreateWithFlags(&s->computed, cudaEventDisableTiming));
	TRY_CUDA(cudaEventCreateWithFlags(&s->done, cudaEventBlockingSync));
	TRY_CUDA(cudaHostAlloc((void **)&s->flags, MOST_IMAGES * sizeof(*s->flags),
			       cudaHostAllocDefault));
	return 0;
}

void part_slot_close(struct part_slot *s)
{
	cudaFreeHost(s->input);
	cudaFreeHost(s->result);
	cudaFreeHost(s->flags);
	if (s->copied)
		cudaEventDestroy(s->copied);
	if (s->began)
		cudaEventDestroy(s->began);
	if (s->computed)
		cudaEventDestroy(s->computed);
	if (s->done)
		cudaEventDestroy(s->done);
}
