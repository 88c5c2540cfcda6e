#include "tests/component/fake_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum op_kind { OP_COPY, OP_SET, OP_CALL, OP_RECORD, OP_WAIT };

struct op {
	enum op_kind kind;
	void *to;
	const void *from;
	size_t bytes;
	enum cudaMemcpyKind copy;
	int value;
	struct CUevent_st *event;
	uint64_t number; /* of the event's recording */
	void (*run)(const void *arg);
	unsigned char arg[256];
	float ms;
};

struct ops {
	struct op *ops;
	size_t n, capacity;
};

struct CUstream_st {
	struct ops queue;
	struct CUgraph_st *capture; /* what is launched goes there instead */
	struct CUstream_st *next;
};

struct CUevent_st {
	uint64_t recorded, done;
	double at; /* ms */
};

struct CUgraph_st {
	struct ops ops;
};

struct CUgraphExec_st {
	struct ops ops;
};

struct memory {
	void *p;
	size_t bytes;
	bool host;
};

struct fake_cuda fake_cuda;

static struct CUstream_st *streams;
static struct memory memories[4096];
static size_t n_memories;
static cudaError_t last_error;
static bool lost;
static uint32_t random_state;
static double now_ms;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % n;
}

static void die(const char *what)
{
	fprintf(stderr, "fake CUDA: %s\n", what);
	abort();
}

void fake_cuda_reset(uint32_t seed)
{
	if (streams || n_memories)
		die("something is still held");
	fake_cuda =
	    (struct fake_cuda){.memory = SIZE_MAX, .lost_after = -1, .devices = 1, .dead = -1};
	last_error = cudaSuccess;
	lost = false;
	random_state = seed;
}

static cudaError_t result(cudaError_t status)
{
	if (lost && status == cudaSuccess)
		status = cudaErrorLaunchFailure;
	if (status != cudaSuccess)
		last_error = status;
	return status;
}

cudaError_t cudaGetLastError(void)
{
	cudaError_t status = lost ? cudaErrorLaunchFailure : last_error;

	last_error = cudaSuccess;
	return status;
}

/* -- what is queued --------------------------------------------------------------------------------- */

static void push(struct ops *o, const struct op *op)
{
	if (o->n == o->capacity) {
		o->capacity = o->capacity ? 2 * o->capacity : 64;
		o->ops = realloc(o->ops, o->capacity * sizeof(*o->ops));
	}
	o->ops[o->n++] = *op;
}

static cudaError_t queue(cudaStream_t stream, const struct op *op)
{
	push(stream->capture ? &stream->capture->ops : &stream->queue, op);
	return result(cudaSuccess);
}

cudaError_t fake_cuda_call(cudaStream_t stream, void (*run)(const void *arg), const void *arg,
			   size_t size, float ms)
{
	struct op op = {.kind = OP_CALL, .run = run, .ms = ms};

	if (size > sizeof(op.arg))
		die("an argument is too large");
	memcpy(op.arg, arg, size);
	fake_cuda.launches += !stream->capture;
	queue(stream, &op);
	return cudaGetLastError();
}

static void run_op(const struct op *op)
{
	if (fake_cuda.lost_after >= 0 && fake_cuda.lost_after-- == 0)
		lost = true;
	if (lost)
		return;
	now_ms += (double)op->ms;
	switch (op->kind) {
	case OP_COPY:
		memcpy(op->to, op->from, op->bytes);
		break;
	case OP_SET:
		memset(op->to, op->value, op->bytes);
		break;
	case OP_CALL:
		op->run(op->arg);
		break;
	case OP_RECORD:
		op->event->done = op->number;
		op->event->at = now_ms;
		break;
	case OP_WAIT:
		break;
	}
}

static bool may_run(const struct CUstream_st *s)
{
	const struct op *op = s->queue.ops;

	return s->queue.n > 0 && (op->kind != OP_WAIT || op->event->done >= op->number);
}

static bool a_kernel_may_run(void)
{
	for (const struct CUstream_st *s = streams; s; s = s->next) {
		if (may_run(s) && s->queue.ops->kind == OP_CALL)
			return true;
	}
	return false;
}

/* Any one operation that may run now. False: there is none. */
static bool run_any(void)
{
	struct CUstream_st *s = streams;
	uint32_t n = 0, which;
	struct op op;

	if (fake_cuda.stands_still || lost)
		return false;
	for (const struct CUstream_st *t = streams; t; t = t->next)
		n += may_run(t);
	if (n == 0)
		return false;
	which = random_below(n);
	while (!may_run(s) || which-- > 0)
		s = s->next;
	op = s->queue.ops[0];
	if (op.kind == OP_COPY && op.copy == cudaMemcpyDeviceToHost)
		fake_cuda.beside += a_kernel_may_run();
	memmove(s->queue.ops, s->queue.ops + 1, --s->queue.n * sizeof(op));
	run_op(&op);
	return true;
}

/* -- streams and events ------------------------------------------------------------------------------ */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
	(void)flags;
	*out = calloc(1, sizeof(**out));
	(*out)->next = streams;
	streams = *out;
	return result(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
	while (stream->queue.n > 0 && run_any())
		continue;
	if (stream->queue.n > 0 && !lost)
		die("a stream waits for an event that nobody will record");
	return result(cudaSuccess);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
	struct CUstream_st **at = &streams;

	while (*at != stream)
		at = &(*at)->next;
	*at = stream->next;
	free(stream->queue.ops);
	free(stream);
	return result(cudaSuccess);
}

/* There is no cudaDeviceSynchronize(): it fails while anybody captures a graph on the device. */
static void run_all(void)
{
	while (run_any())
		continue;
}

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
	*out = calloc(1, sizeof(**out));
	return result(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
	(void)flags;
	return cudaEventCreate(out);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
	free(event);
	return result(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
	const struct op op = {.kind = OP_RECORD, .event = event, .number = ++event->recorded};

	return queue(stream, &op);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
	const struct op op = {.kind = OP_WAIT, .event = event, .number = event->recorded};

	(void)flags;
	return queue(stream, &op);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
	run_any();
	return result(event->done < event->recorded && !lost ? cudaErrorNotReady : cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
	while (event->done < event->recorded && run_any())
		continue;
	if (event->done < event->recorded && !lost)
		die("an event is waited for that will never come");
	return result(cudaSuccess);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
	*ms = (float)(end->at - start->at);
	return result(cudaSuccess);
}

/* -- memory ------------------------------------------------------------------------------------------ */

static cudaError_t take(void **out, size_t bytes, bool host)
{
	if (lost)
		return result(cudaSuccess);
	if (host ? fake_cuda.host_is_full : bytes > fake_cuda.memory - fake_cuda.held)
		return result(cudaErrorMemoryAllocation);
	if (n_memories == sizeof(memories) / sizeof(memories[0]))
		die("too many blocks of memory");
	*out = malloc(bytes);
	memset(*out, 0xcd, bytes);
	memories[n_memories++] = (struct memory){*out, bytes, host};
	*(host ? &fake_cuda.host_held : &fake_cuda.held) += bytes;
	if (fake_cuda.held > fake_cuda.most)
		fake_cuda.most = fake_cuda.held;
	return result(cudaSuccess);
}

/* CUDA waits for the device first. */
static cudaError_t give(void *p, bool host)
{
	size_t i = 0;

	if (!p)
		return result(cudaSuccess);
	run_all();
	while (i < n_memories && (memories[i].p != p || memories[i].host != host))
		i++;
	if (i == n_memories)
		die("memory is freed that is not there");
	*(host ? &fake_cuda.host_held : &fake_cuda.held) -= memories[i].bytes;
	memset(p, 0xdd, memories[i].bytes);
	memories[i] = memories[--n_memories];
	free(p);
	return result(cudaSuccess);
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
	return take(out, bytes, false);
}

cudaError_t cudaFree(void *p)
{
	return give(p, false);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags)
{
	(void)flags;
	return take(out, bytes, true);
}

cudaError_t cudaFreeHost(void *p)
{
	return give(p, true);
}

cudaError_t cudaMemGetInfo(size_t *room, size_t *total)
{
	*room = fake_cuda.memory - fake_cuda.held;
	*total = fake_cuda.memory;
	return result(cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
			    cudaStream_t stream)
{
	const struct op op = {
	    .kind = OP_COPY, .to = to, .from = from, .bytes = bytes, .copy = kind, .ms = 0.25f};

	return queue(stream, &op);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
	const struct op op = {.kind = OP_SET, .to = to, .value = value, .bytes = bytes};

	return queue(stream, &op);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
	if (kind == cudaMemcpyHostToDevice)
		die("what is copied so may arrive after a stream has read it");
	run_all();
	memcpy(to, from, bytes);
	return result(cudaSuccess);
}

/* -- graphs ------------------------------------------------------------------------------------------ */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
	(void)mode;
	if (fake_cuda.cannot_capture)
		return result(cudaErrorStreamCaptureUnsupported);
	stream->capture = calloc(1, sizeof(*stream->capture));
	return result(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
	*out = stream->capture;
	stream->capture = NULL;
	return result(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	free(graph->ops.ops);
	free(graph);
	return result(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags)
{
	(void)flags;
	*out = calloc(1, sizeof(**out));
	for (size_t i = 0; i < graph->ops.n; i++)
		push(&(*out)->ops, &graph->ops.ops[i]);
	return result(cudaSuccess);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
	free(graph->ops.ops);
	free(graph);
	return result(cudaSuccess);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
	fake_cuda.graphs++;
	for (size_t i = 0; i < graph->ops.n; i++)
		queue(stream, &graph->ops.ops[i]);
	return result(cudaSuccess);
}

/* -- the device ---------------------------------------------------------------------------------------- */

cudaError_t cudaSetDevice(int device)
{
	if (device == fake_cuda.dead)
		return result(cudaErrorDevicesUnavailable);
	return result(device < fake_cuda.devices ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *device)
{
	*device = 0;
	return result(cudaSuccess);
}

cudaError_t cudaGetDeviceCount(int *n)
{
	*n = fake_cuda.devices;
	return result(cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
	(void)device;
	memset(prop, 0, sizeof(*prop));
	snprintf(prop->name, sizeof(prop->name), "made up");
	prop->major = 9;
	prop->multiProcessorCount = 132;
	prop->l2CacheSize = 50 << 20;
	return result(cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int *version)
{
	*version = 13000;
	return result(cudaSuccess);
}

cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int device)
{
	snprintf(out, (size_t)size, "0000:%02x:00.0", (unsigned)device & 0xff);
	return result(cudaSuccess);
}
