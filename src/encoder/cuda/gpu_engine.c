/*
 * A job is computed in parts of as many images as suit its size. Two parts are under way at once, each in a slot of its
 * own: while one is computed the next one's input is copied up and the last one's results down, each on a stream of
 * its own, and handed out. Everything of one size lies in one arena whose places were planned before; sizes take turns in it, so a
 * part of another size waits until the device is idle.
 *
 * The first part of a size is launched kernel by kernel, which also chooses the algorithms of products; from then on the
 * launches are replayed as a CUDA graph, one for each slot.
 */
#include "gpu_engine_parts.h"

#include "device_cuda.h"
#include "gpu_clock.h"
#include "plugin_error.h"

#include <string.h>

enum { FIRST_LOOK_US = 50, LATER_LOOK_US = 500, LONGEST_REST_US = 200000 };

/* -- slots ---------------------------------------------------------------------------------------- */

static struct queued *queued_of(struct latentd_cuda_engine *e, uint64_t number)
{
	return &e->queue[number % LATENTD_CUDA_IN_FLIGHT];
}

static bool is_cancelled(const struct latentd_cuda_engine *e, uint64_t number)
{
	return number < atomic_load(&e->cancelled);
}

/* Bytes of one image's input, floats of its result. */
static size_t input_of(const struct latentd_cuda_engine *e, const struct latentd_cuda_job *job)
{
	const struct gpu_port *port = &e->model->steps.input;

	return gpu_port_values(port, job->height, job->width) * port->element;
}

static size_t result_of(const struct latentd_cuda_engine *e, const struct latentd_cuda_job *job)
{
	return gpu_port_values(&e->model->steps.result, job->height, job->width);
}

/* The bytes of the slot's images to the device; the compute stream waits for them. */
static int send(struct latentd_cuda_engine *e, struct part_slot *s, int index,
		const struct latentd_cuda_job *job, struct latentd_cuda_error *err)
{
	size_t image = input_of(e, job);
	uint8_t *arena = part_plans_arena(e->plans);
	cudaStream_t stream = device_cuda_stream(e->device);

	for (uint32_t i = 0; i < s->n; i++)
		memcpy(s->input + i * image, job->items[s->first + i].input, image);
	TRY_CUDA(cudaMemcpyAsync(arena + s->plan->plan.input[index], s->input, s->n * image,
				 cudaMemcpyHostToDevice, e->up));
	TRY_CUDA(cudaEventRecord(s->copied, e->up));
	TRY_CUDA(cudaStreamWaitEvent(stream, s->copied, 0));
	return 0;
}

/* What is computed from now on does not wait for it: a plan keeps each slot's results apart from all else. */
static int receive(struct latentd_cuda_engine *e, struct part_slot *s, int index, size_t floats,
		   struct latentd_cuda_error *err)
{
	uint8_t *arena = part_plans_arena(e->plans);

	TRY_CUDA(cudaEventRecord(s->computed, device_cuda_stream(e->device)));
	TRY_CUDA(cudaStreamWaitEvent(e->down, s->computed, 0));
	TRY_CUDA(cudaMemcpyAsync(s->result, arena + s->plan->plan.result[index],
				 s->n * floats * sizeof(float), cudaMemcpyDeviceToHost, e->down));
	TRY_CUDA(cudaMemcpyAsync(s->flags, arena + s->plan->plan.flags[index],
				 s->n * sizeof(*s->flags), cudaMemcpyDeviceToHost, e->down));
	TRY_CUDA(cudaEventRecord(s->done, e->down));
	return 0;
}

static bool any_busy(const struct latentd_cuda_engine *e, const struct part_plan *but)
{
	for (int i = 0; i < GPU_SLOTS; i++) {
		if (e->slots[i].busy && e->slots[i].plan != but)
			return true;
	}
	return false;
}

/* Choosing algorithms: it is alive, and stops when the job is cancelled. */
bool gpu_engine_goes_on(void *arg)
{
	struct latentd_cuda_engine *e = arg;

	atomic_fetch_add(&e->ticks, 1);
	if (!e->whose)
		return !is_cancelled(e, e->starting);
	atomic_fetch_add(&e->whose->ticks, 1);
	return !is_cancelled(e->whose, e->whose->collected);
}

void gpu_engine_settle(struct latentd_cuda_engine *e)
{
	const cudaStream_t streams[] = {e->up, device_cuda_stream(e->device), e->down};

	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		if (streams[i])
			cudaStreamSynchronize(streams[i]);
	}
	cudaGetLastError(); /* it is told elsewhere, not again by the next launch */
}

/* Inputs up, the network, results down: all of it under way when it returns. */
static int run_part(struct latentd_cuda_engine *e, const struct queued *q, struct part_slot *s,
		    int index, struct latentd_cuda_error *err)
{
	if (send(e, s, index, q->job, err) < 0)
		return -1;
	TRY_CUDA(cudaEventRecord(s->began, device_cuda_stream(e->device)));
	if (part_plans_run(e->plans, s->plan, index, err) < 0)
		return -1;
	return receive(e, s, index, result_of(e, q->job), err);
}

/* Starts the next part of a job in the next slot; 1: not now, a slot must be emptied first. */
static int start(struct latentd_cuda_engine *e, struct queued *q, struct latentd_cuda_error *err)
{
	int index = (int)e->next_slot;
	struct part_slot *s = &e->slots[index];
	size_t floats = result_of(e, q->job), image = input_of(e, q->job);
	struct part_plan *plan =
	    part_plans_find(e->plans, q->job->width, q->job->height, q->job->n - q->started);

	if (s->busy || (any_busy(e, plan) || (!plan && any_busy(e, NULL))) ||
	    (e->pace->share < 1 && any_busy(e, NULL)))
		return 1;
	e->starting = q->number;
	if (!plan && part_plans_make(e->plans, q->job->width, q->job->height,
				     q->job->n - q->started, &plan, err) < 0)
		return -1;
	device_cuda_save(e->device); /* what was chosen took longer than it takes to lose it */
	s->plan = plan;
	s->number = q->number;
	s->first = q->started;
	s->n = q->job->n - q->started;
	if (s->n > (uint32_t)plan->plan.shape.n)
		s->n = (uint32_t)plan->plan.shape.n;
	if (part_slot_pin((void **)&s->input, &s->input_size, (size_t)plan->plan.shape.n * image,
			  err) < 0 ||
	    part_slot_pin((void **)&s->result, &s->result_size,
			  (size_t)plan->plan.shape.n * floats * sizeof(float), err) < 0)
		return -1;
	if (run_part(e, q, s, index, err) < 0) {
		gpu_engine_settle(e); /* some of it may be under way, and the slot is free again */
		return -1;
	}
	s->busy = true;
	q->started += s->n;
	e->next_slot = (e->next_slot + 1) % GPU_SLOTS;
	e->last_batch = (uint32_t)plan->plan.shape.n;
	e->last_banded = plan->plan.banded;
	e->last_graph = plan->graphs[index] != NULL;
	return 0;
}

/* -- results -------------------------------------------------------------------------------------- */

/* The image in float32, by an engine that is opened when it is needed for the first time. */
static int compute_exactly(struct latentd_cuda_engine *e, struct latentd_cuda_job *one,
			   struct latentd_cuda_error *err)
{
	struct latentd_cuda_options options = e->options;
	struct latentd_cuda_job *done = NULL;

	options.dtype = LATENTD_CUDA_F32;
	options.tf32 = 0;
	options.max_batch = 1;
	options.share = 1; /* it is this one's turn */
	options.pause_when_busy = 0;
	if (!e->exact && gpu_engine_open_for(e->model, &options, e, &e->exact, err) < 0)
		return -1;
	if (gpu_engine_submit(e->exact, one, err) < 0)
		return -1;
	return gpu_engine_collect(e->exact, -1, &done, err);
}

/* What is in flight is waited for; its results are on the host then. */
static int let_go(struct latentd_cuda_engine *e, struct latentd_cuda_error *err)
{
	TRY_CUDA(cudaStreamSynchronize(e->down));
	part_plans_let_go(e->plans);
	return 0;
}

/* Of the engine beside: its maps, and its float32 engine, which only computes while it is waited for. */
bool gpu_engine_make_room(void *arg)
{
	struct latentd_cuda_engine *e = arg, *other = e->whose ? e->whose->beside : e->beside;

	if (!other || (!other->exact && !part_plans_arena(other->plans)))
		return false;
	gpu_engine_close(other->exact);
	other->exact = NULL;
	return let_go(other, NULL) == 0;
}

/* Where there is not room for both, our arena goes, and then the float32 engine. */
static int repeat_exactly(struct latentd_cuda_engine *e, const struct latentd_cuda_job *job,
			  struct latentd_cuda_item *item, struct latentd_cuda_error *err)
{
	struct latentd_cuda_error why = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_item again = {item->input, item->result, 0};
	struct latentd_cuda_job one = {job->width, job->height, 1, &again, NULL};
	int r = compute_exactly(e, &one, &why);

	if (r < 0 && plugin_error_is_memory(why.code)) {
		why.code = LATENTD_CUDA_OK;
		r = let_go(e, &why);
		if (r == 0)
			r = compute_exactly(e, &one, &why);
		gpu_engine_close(e->exact);
		e->exact = NULL;
	}
	if (r < 0 && why.code != LATENTD_CUDA_TOO_LARGE)
		return plugin_error_pass(err, &why);
	item->flags = LATENTD_CUDA_ITEM_DONE;
	if (r < 0)
		item->flags |= LATENTD_CUDA_ITEM_TOO_LARGE;
	else
		item->flags |= LATENTD_CUDA_ITEM_F32 | (again.flags & LATENTD_CUDA_ITEM_NOT_FINITE);
	return 0;
}

/* Hands out what the slot, whose work is done, has computed. */
static int finish(struct latentd_cuda_engine *e, struct part_slot *s,
		  struct latentd_cuda_error *err)
{
	struct queued *q = queued_of(e, s->number);
	size_t floats = result_of(e, q->job);
	int r = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		struct latentd_cuda_item *item = &q->job->items[s->first + i];

		if (!s->flags[i]) {
			memcpy(item->result, s->result + i * floats, floats * sizeof(float));
			item->flags = LATENTD_CUDA_ITEM_DONE;
		} else if (e->options.dtype == LATENTD_CUDA_F32) {
			item->flags = LATENTD_CUDA_ITEM_DONE | LATENTD_CUDA_ITEM_NOT_FINITE;
		} else if (repeat_exactly(e, q->job, item, err) < 0) {
			r = -1;
		}
		atomic_fetch_add(&e->ticks, 1);
	}
	return r;
}

/* Starts what can be started. A part that fails ends its job. */
static void pump(struct latentd_cuda_engine *e)
{
	for (uint64_t number = e->collected; number < e->submitted; number++) {
		struct queued *q = queued_of(e, number);

		while (q->started < q->job->n && q->error.code == LATENTD_CUDA_OK) {
			if (is_cancelled(e, number)) {
				plugin_error_set(&q->error, LATENTD_CUDA_CANCELLED, "cancelled");
				break;
			}
			if (gpu_pace_wait_us(e->pace) > 0 || start(e, q, &q->error) > 0)
				return;
		}
	}
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* cudaErrorNotReady: not before @deadline. CUDA itself waits without end only. */
static cudaError_t wait_for(cudaEvent_t event, int64_t deadline)
{
	int64_t pause = FIRST_LOOK_US, left;
	cudaError_t status;

	if (deadline == GPU_CLOCK_NEVER)
		return cudaEventSynchronize(event);
	while ((status = cudaEventQuery(event)) == cudaErrorNotReady) {
		cudaGetLastError(); /* it counts as one, and would be told by the next launch */
		left = deadline - gpu_clock_us();
		if (left <= 0)
			break;
		gpu_clock_sleep_us(smaller(pause, left));
		pause = smaller(2 * pause, LATER_LOOK_US);
	}
	return status;
}

/* Waits for the oldest slot: 0 emptied, 1 not before @deadline. */
static int empty(struct latentd_cuda_engine *e, int64_t deadline, struct latentd_cuda_error *err)
{
	struct part_slot *s = &e->slots[e->oldest_slot];
	cudaError_t status = wait_for(s->done, deadline);
	float ms = 0;

	if (status == cudaErrorNotReady)
		return 1;
	s->busy = false;
	e->oldest_slot = (e->oldest_slot + 1) % GPU_SLOTS;
	if (status != cudaSuccess)
		return plugin_error_cuda(err, (int)status, "computing on the GPU");
	if (e->pace->share < 1 && cudaEventElapsedTime(&ms, s->began, s->done) == cudaSuccess)
		gpu_pace_ran(e->pace, (double)ms);
	return finish(e, s, err);
}

/* Nothing runs, and nothing may be started yet. False: not before @deadline. */
static bool wait_for_turn(struct latentd_cuda_engine *e, int64_t deadline)
{
	int64_t wait = smaller(gpu_pace_wait_us(e->pace), LONGEST_REST_US), left = GPU_CLOCK_NEVER;

	if (deadline != GPU_CLOCK_NEVER)
		left = deadline - gpu_clock_us();
	if (wait > 0 && left <= 0)
		return false;
	gpu_clock_sleep_us(smaller(wait, left));
	atomic_fetch_add(&e->ticks, 1); /* it waits, it does not hang */
	return true;
}

static bool job_in_slot(const struct latentd_cuda_engine *e, uint64_t number)
{
	for (int i = 0; i < GPU_SLOTS; i++) {
		if (e->slots[i].busy && e->slots[i].number == number)
			return true;
	}
	return false;
}

static bool is_over(const struct queued *q)
{
	return q->started == q->job->n || q->error.code != LATENTD_CUDA_OK;
}

/* The device does not answer: the slots of the job come free without results. */
static void give_up_slots(struct latentd_cuda_engine *e, uint64_t number)
{
	gpu_engine_settle(e);
	while (e->slots[e->oldest_slot].busy && e->slots[e->oldest_slot].number == number) {
		e->slots[e->oldest_slot].busy = false;
		e->oldest_slot = (e->oldest_slot + 1) % GPU_SLOTS;
	}
}

static bool is_fatal(enum latentd_cuda_code code)
{
	return code == LATENTD_CUDA_DEVICE_LOST || code == LATENTD_CUDA_ECC;
}

/* -- the api -------------------------------------------------------------------------------------- */

int gpu_engine_submit(struct latentd_cuda_engine *e, struct latentd_cuda_job *job,
		      struct latentd_cuda_error *err)
{
	uint32_t downscale = gpu_model_downscale(e->model);
	struct queued *q = queued_of(e, e->submitted);

	if (e->broken.code != LATENTD_CUDA_OK)
		return plugin_error_pass(err, &e->broken);
	if (job->n == 0 || job->width == 0 || job->height == 0 || job->width % downscale ||
	    job->height % downscale)
		return plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED,
					"%u images of %ux%u: sides must be multiples of %u", job->n,
					job->width, job->height, downscale);
	if (e->submitted - e->collected == LATENTD_CUDA_IN_FLIGHT)
		return LATENTD_CUDA_FULL;
	if (device_cuda_use(e->device, err) < 0)
		return -1;
	*q = (struct queued){.job = job, .number = e->submitted};
	for (uint32_t i = 0; i < job->n; i++)
		job->items[i].flags = 0;
	e->submitted++;
	atomic_store(&e->count, e->submitted);
	pump(e);
	return 0;
}

int gpu_engine_collect(struct latentd_cuda_engine *e, int timeout_ms, struct latentd_cuda_job **out,
		       struct latentd_cuda_error *err)
{
	struct queued *q = queued_of(e, e->collected);
	int64_t deadline = gpu_clock_deadline(timeout_ms);

	if (e->collected == e->submitted)
		return LATENTD_CUDA_NOTHING;
	/* An error of work before it may come out here; the job goes back with it. */
	while (device_cuda_use(e->device, &q->error) == 0) {
		pump(e);
		if (job_in_slot(e, e->collected)) {
			if (empty(e, deadline, &q->error) > 0)
				return LATENTD_CUDA_NOTHING;
		} else if (is_over(q)) {
			break;
		} else if (!wait_for_turn(e, deadline)) {
			return LATENTD_CUDA_NOTHING;
		}
	}
	if (job_in_slot(e, e->collected))
		give_up_slots(e, e->collected);
	e->collected++;
	*out = q->job;
	device_cuda_save(e->device);
	if (q->error.code == LATENTD_CUDA_OK)
		return 0;
	if (is_fatal(q->error.code))
		e->broken = q->error;
	if (err)
		*err = q->error;
	return -1;
}

void gpu_engine_cancel(struct latentd_cuda_engine *e)
{
	uint_fast64_t mark = atomic_load(&e->count), old = atomic_load(&e->cancelled);

	while (old < mark && !atomic_compare_exchange_weak(&e->cancelled, &old, mark))
		continue;
}

uint64_t gpu_engine_ticks(const struct latentd_cuda_engine *e)
{
	return atomic_load(&e->ticks);
}
