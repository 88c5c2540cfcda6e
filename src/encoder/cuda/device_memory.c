#include "device_memory.h"

#include "plugin_error.h"

#include <assert.h>
#include <cuda_runtime_api.h>
#include <stdlib.h>

struct block {
	void *p;
	size_t bytes;
};

struct device_memory {
	size_t limit, held;
	struct block *blocks;
	size_t n, capacity;
};

struct device_memory *device_memory_new(size_t limit)
{
	struct device_memory *m = calloc(1, sizeof(*m));

	if (m)
		m->limit = limit;
	return m;
}

void device_memory_free(struct device_memory *m)
{
	if (!m)
		return;
	assert(m->n == 0);
	free(m->blocks);
	free(m);
}

size_t device_memory_room(const struct device_memory *m)
{
	return m->limit - m->held;
}

static int have_room(struct device_memory *m, struct latentd_cuda_error *err)
{
	size_t capacity = m->capacity ? 2 * m->capacity : 256;
	struct block *more;

	if (m->n < m->capacity)
		return 0;
	more = realloc(m->blocks, capacity * sizeof(*more));
	if (!more)
		return plugin_error_memory(err, capacity * sizeof(*more));
	m->blocks = more;
	m->capacity = capacity;
	return 0;
}

void *device_memory_alloc(struct device_memory *m, size_t bytes, const char *what,
			  struct latentd_cuda_error *err)
{
	cudaError_t status;
	void *p = NULL;

	if (bytes > device_memory_room(m)) {
		plugin_error_set(err, LATENTD_CUDA_TOO_LARGE,
				 "%s of %zu MiB beside %zu MiB are more than the %zu MiB allowed",
				 what, bytes >> 20, m->held >> 20, m->limit >> 20);
		return NULL;
	}
	if (have_room(m, err) < 0)
		return NULL;
	status = cudaMalloc(&p, bytes ? bytes : 1);
	if (status != cudaSuccess) {
		cudaGetLastError(); /* it is told here, not again by the next launch */
		plugin_error_cuda(err, (int)status, what);
		return NULL;
	}
	m->blocks[m->n++] = (struct block){p, bytes};
	m->held += bytes;
	return p;
}

void device_memory_release(struct device_memory *m, void *p)
{
	size_t i = 0;

	if (!p)
		return;
	while (i < m->n && m->blocks[i].p != p)
		i++;
	assert(i < m->n);
	m->held -= m->blocks[i].bytes;
	m->blocks[i] = m->blocks[--m->n];
	cudaFree(p);
}
