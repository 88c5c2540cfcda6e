/*
 * kernels*.cu with a thread of its own for each of a block's, on the processor: they take turns at each barrier, so that
 * what is not ordered by one comes in the order of the threads' numbers. The build rewrites launches, <<<...>>>, as calls
 * of launch(), which queues them on the stream of fake_cuda.c.
 */
#include "tests/component/fake_cuda.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <ucontext.h>

namespace
{

enum { MOST_THREADS = 256, STACK = 65536 };

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

/* The block that runs now. */
struct {
	ucontext_t scheduler, contexts[MOST_THREADS];
	bool over[MOST_THREADS];
	unsigned n, current;
	void (*body)(const void *);
	const void *call;
	float lanes[MOST_THREADS];
} block;

char stacks[MOST_THREADS][STACK];

void thread_main()
{
	block.body(block.call);
	block.over[block.current] = true;
	swapcontext(&block.contexts[block.current], &block.scheduler);
}

void barrier()
{
	swapcontext(&block.contexts[block.current], &block.scheduler);
	threadIdx.x = block.current;
}

/* A turn for each thread that is not over; false: they all are. */
bool turn()
{
	bool any = false;

	for (unsigned i = 0; i < block.n; i++) {
		if (block.over[i])
			continue;
		any = true;
		block.current = i;
		threadIdx = uint3{i, 0, 0};
		swapcontext(&block.scheduler, &block.contexts[i]);
	}
	return any;
}

void run_block(unsigned threads, void (*body)(const void *), const void *call)
{
	block.n = threads;
	block.body = body;
	block.call = call;
	for (unsigned i = 0; i < threads; i++) {
		block.over[i] = false;
		getcontext(&block.contexts[i]);
		block.contexts[i].uc_stack.ss_sp = stacks[i];
		block.contexts[i].uc_stack.ss_size = STACK;
		block.contexts[i].uc_link = nullptr;
		makecontext(&block.contexts[i], thread_main, 0);
	}
	while (turn())
		continue;
}

template <typename F> struct queued {
	dim3 grid;
	unsigned threads;
	F kernel;
};

template <typename F> void run_grid(const void *arg)
{
	const queued<F> *q = static_cast<const queued<F> *>(arg);

	blockDim = dim3(q->threads);
	gridDim = q->grid;
	for (unsigned y = 0; y < q->grid.y; y++) {
		for (unsigned x = 0; x < q->grid.x; x++) {
			blockIdx = uint3{x, y, 0};
			run_block(
			    q->threads, [](const void *call) { (*static_cast<const F *>(call))(); },
			    &q->kernel);
		}
	}
}

template <typename F> void launch_kernel(cudaStream_t stream, dim3 grid, unsigned threads, F kernel)
{
	const queued<F> q = {grid, threads, kernel};

	if (threads == 0 || threads > MOST_THREADS || grid.x == 0 || grid.y == 0) {
		std::fprintf(stderr, "a launch of %u blocks of %u threads\n", grid.x, threads);
		std::abort();
	}
	fake_cuda_call(stream, run_grid<F>, &q, sizeof(q), 1);
}

template <typename K, typename... A>
void launch(cudaStream_t stream, dim3 grid, unsigned threads, K kernel, A... args)
{
	launch_kernel(stream, grid, threads, [=] { kernel(args...); });
}

void __syncthreads()
{
	barrier();
}

/* All threads of a block do this at once. */
float __shfl_xor_sync(unsigned, float x, int other)
{
	unsigned self = block.current;

	block.lanes[self] = x;
	barrier();
	x = block.lanes[self ^ static_cast<unsigned>(other)];
	barrier();
	return x;
}

void atomicOr(uint32_t *p, uint32_t bits)
{
	*p |= bits;
}

template <typename T> T min(T a, T b)
{
	return a < b ? a : b;
}

} // namespace

using std::isfinite;

/* The C library has functions of these names. */
#define __expf(x) std::exp(x)
#define __fdividef(a, b) ((a) / (b))

/* A block at a time has them. */
#undef __shared__
#define __shared__ static

#include "kernels_norm_rewritten.inc"
#include "kernels_rewritten.inc"
#include "kernels_softmax_rewritten.inc"
