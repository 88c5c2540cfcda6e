/* How algorithms of convolutions are chosen, over proposals that are made up and a runtime that is too (fake_cuda.h). */
#include "base/checked.h"
#include "encoder/cuda/conv_choice.h"
#include "encoder/cuda/conv_graph.h"
#include "encoder/cuda/kernels.h"
#include "encoder/cuda/plugin_error.h"
#include "tests/component/fake_cuda.h"
#include "tests/testing.h"

#include <string.h>
#include <time.h>

#define MIB ((size_t)1 << 20)

enum { PROPOSALS = 12 };

/* -- in the place of conv_graph.c and kernels.cu ------------------------------------------------------ */

struct proposal {
	float ms;
	bool opens, runs, slow; /* slow: to be opened */
	size_t workspace;
};

static struct proposal proposals[3]
				[PROPOSALS]; /* of each variant; those without time are not there */
static float add_ms;
static size_t opened, run;

struct conv_graph {
	struct conv_problem problem;
	cudaStream_t stream;
};

struct conv_plan {
	struct proposal proposal;
	struct conv_problem problem;
	cudaStream_t stream;
};

static cudaStream_t the_stream;

struct conv_graph *conv_graph_open(const struct conv_target *target,
				   const struct conv_problem *problem,
				   struct latentd_cuda_error *err)
{
	struct conv_graph *g = xcalloc(1, sizeof(*g));

	(void)target;
	g->problem = *problem;
	g->stream = the_stream;
	if (conv_graph_candidates(g) > 0)
		return g;
	free(g);
	plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED, "cuDNN has no algorithm");
	return NULL;
}

void conv_graph_close(struct conv_graph *g)
{
	free(g);
}

size_t conv_graph_candidates(const struct conv_graph *g)
{
	size_t n = 0;

	while (n < PROPOSALS && proposals[g->problem.epilogue][n].ms > 0)
		n++;
	return n;
}

struct conv_plan *conv_plan_open(struct conv_graph *g, size_t candidate,
				 struct latentd_cuda_error *err)
{
	const struct proposal *p = &proposals[g->problem.epilogue][candidate];
	struct conv_plan *plan;

	opened++;
	if (p->slow)
		nanosleep(&(struct timespec){0, 3000000}, NULL);
	if (candidate >= conv_graph_candidates(g) || !p->opens) {
		plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED, "it does not open");
		return NULL;
	}
	plan = xcalloc(1, sizeof(*plan));
	*plan = (struct conv_plan){*p, g->problem, g->stream};
	return plan;
}

void conv_plan_close(struct conv_plan *plan)
{
	free(plan);
}

size_t conv_plan_workspace(const struct conv_plan *plan)
{
	return plan->proposal.workspace;
}

struct touched {
	void *y, *workspace;
	size_t y_bytes, workspace_bytes;
};

static void touch(const void *arg)
{
	const struct touched *t = arg;

	memset(t->y, 1, t->y_bytes);
	if (t->workspace_bytes)
		memset(t->workspace, 2, t->workspace_bytes);
}

int conv_plan_run(const struct conv_plan *plan, const void *x, const void *w, const void *bias,
		  const void *z, void *y, void *workspace, struct latentd_cuda_error *err)
{
	const struct conv_problem *p = &plan->problem;
	struct touched t = {y, workspace, 0, plan->proposal.workspace};

	assert_true(x && w && y && (p->epilogue == CONV_PLAIN || bias) &&
		    (p->epilogue != CONV_BIAS_ADD || z));
	assert_ptr_not_equal(y, z);
	t.y_bytes =
	    (size_t)(p->n * conv_problem_out_height(p) * conv_problem_out_width(p) * p->out) *
	    latentd_cuda_dtype_size(p->dtype);
	run++;
	if (!plan->proposal.runs)
		return plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED, "it does not run");
	fake_cuda_call(plan->stream, touch, &t, sizeof(t), plan->proposal.ms);
	return 0;
}

static void nothing(const void *arg)
{
	(void)arg;
}

cudaError_t kernels_add(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *y,
			const void *bias, const void *z, int64_t pixels, int64_t channels)
{
	(void)dtype;
	(void)pixels;
	(void)channels;
	assert_true(y && (bias || z));
	return fake_cuda_call(stream, nothing, &y, sizeof(y), add_ms);
}

/* -- a chooser --------------------------------------------------------------------------------------- */

static struct conv_chooser chooser;

static const struct conv_problem residual = {
    1, 32, 32, 64, 64, 3, 1, 1, 1, 1, 1, LATENTD_CUDA_F16, CONV_BIAS_ADD, false};

static void propose(int variant, size_t i, float ms, size_t workspace)
{
	proposals[variant][i] = (struct proposal){ms, true, true, false, workspace};
}

static void open_chooser(size_t memory)
{
	fake_cuda_reset(1);
	cudaStreamCreateWithFlags(&the_stream, 0);
	chooser = (struct conv_chooser){.stream = the_stream,
					.cache = algo_cache_new("made up"),
					.memory = device_memory_new(memory),
					.most_workspace = 8 * MIB,
					.patience = 60};
	cudaEventCreate(&chooser.begin);
	cudaEventCreate(&chooser.end);
}

static int setup(void **state)
{
	(void)state;
	memset(proposals, 0, sizeof(proposals));
	add_ms = 1;
	opened = run = 0;
	open_chooser(64 * MIB);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	device_memory_release(chooser.memory, chooser.workspace);
	device_memory_free(chooser.memory);
	algo_cache_free(chooser.cache);
	cudaEventDestroy(chooser.begin);
	cudaEventDestroy(chooser.end);
	cudaStreamDestroy(the_stream);
	assert_int_equal(fake_cuda.held, 0);
	return 0;
}

/* What is chosen for it takes that long, with all that its epilogue needs. */
static void takes(const struct conv_problem *p, float ms)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	static uint8_t x[MIB], y[MIB], z[MIB], w[MIB];
	static float bias[64];
	struct gpu_conv *conv = NULL;
	float took = 0;

	if (conv_choice_open(&chooser, p, &conv, &err) < 0)
		fail_msg("%s", err.message);
	cudaEventRecord(chooser.begin, the_stream);
	assert_int_equal(conv_choice_run(&chooser, conv, x, w, bias, z, y, &err), 0);
	cudaEventRecord(chooser.end, the_stream);
	cudaEventSynchronize(chooser.end);
	cudaEventElapsedTime(&took, chooser.begin, chooser.end);
	assert_true(took > ms - 0.01f && took < ms + 0.01f);
	conv_choice_close(conv);
}

static void the_fastest_way_wins_the_kernel_behind_it_counted(void **state)
{
	(void)state;
	propose(CONV_BIAS_ADD, 0, 9, 0);
	propose(CONV_BIAS_ADD, 1, 7, 0);
	propose(CONV_BIAS, 0, 5.5f, 0); /* 6.5 with the residual's kernel */
	propose(CONV_PLAIN, 0, 5.8f, 0);
	takes(&residual, 6.5f);
	proposals[CONV_BIAS_ADD][1].ms = 6;
	add_ms = 2;
	algo_cache_free(chooser.cache);
	chooser.cache = algo_cache_new("made up");
	takes(&residual, 6);
}

static void what_does_not_open_or_run_is_passed_over(void **state)
{
	(void)state;
	propose(CONV_BIAS_ADD, 0, 1, 0);
	proposals[CONV_BIAS_ADD][0].opens = false;
	propose(CONV_BIAS_ADD, 1, 1, 0);
	proposals[CONV_BIAS_ADD][1].runs = false;
	propose(CONV_BIAS_ADD, 2, 4, 0);
	takes(&residual, 4);
}

static void a_choice_is_remembered_and_what_has_become_of_it_is_noticed(void **state)
{
	size_t before;

	(void)state;
	propose(CONV_PLAIN, 0, 5, 0);
	propose(CONV_PLAIN, 1, 3, 0);
	takes(&residual, 4);
	before = run;
	takes(&residual, 4);
	assert_int_equal(run, before + 1); /* not timed again */
	proposals[CONV_PLAIN][1].opens = false;
	takes(&residual, 6);
}

static void bands_of_about_one_height_share_a_choice(void **state)
{
	struct conv_problem band = residual, next = residual, low = residual;
	size_t before;

	(void)state;
	propose(CONV_PLAIN, 0, 5, 0);
	propose(CONV_PLAIN, 1, 3, 0);
	band.height = 17; /* a first one */
	band.pad_bottom = 0;
	next.height = 18;
	next.pad_top = next.pad_bottom = 0;
	low.height = 6; /* a last one */
	low.pad_top = 0;
	takes(&band, 4);
	before = run;
	takes(&next, 4);
	assert_int_equal(run, before + 1);
	takes(&low, 4);
	assert_true(run > before + 2);
	before = run;
	takes(&residual, 4); /* a whole map is none */
	assert_true(run > before + 1);
}

static void what_does_not_open_in_time_does_not_hold_up_and_something_is_always_found(void **state)
{
	(void)state;
	chooser.patience = 0.001;
	for (size_t i = 0; i < PROPOSALS; i++) {
		propose(CONV_BIAS_ADD, i, 1, 0);
		proposals[CONV_BIAS_ADD][i].slow = true;
		proposals[CONV_BIAS_ADD][i].opens = false;
		propose(CONV_PLAIN, i, 4, 0);
		proposals[CONV_PLAIN][i].slow = true;
		proposals[CONV_PLAIN][i].opens = i == PROPOSALS - 1;
	}
	takes(&residual, 5);
	assert_int_equal(opened, 1 + PROPOSALS);
}

static void workspaces_are_within_the_limits_or_not_taken(void **state)
{
	(void)state;
	propose(CONV_PLAIN, 0, 9, 0);
	propose(CONV_PLAIN, 1, 1, 9 * MIB); /* more than a convolution may */
	propose(CONV_PLAIN, 2, 4, 5 * MIB);
	takes(&residual, 5);
	assert_int_equal(chooser.workspace_bytes, 5 * MIB);
	teardown(NULL);
	open_chooser(4 * MIB); /* all memory there is */
	takes(&residual, 10);
	assert_true(fake_cuda.most <= 4 * MIB);
}

static void it_is_timed_in_memory_that_nobody_needs(void **state)
{
	size_t map = 32 * 32 * 64 * 2, bytes = 4 * map + MIB, held;
	uint8_t *spare = device_memory_alloc(chooser.memory, bytes, "spare", NULL);

	(void)state;
	memset(spare, 7, bytes);
	propose(CONV_BIAS_ADD, 0, 2, 0);
	held = fake_cuda.held;
	chooser.spare = spare;
	chooser.spare_bytes = bytes - 100;
	takes(&residual, 2);
	assert_int_equal(fake_cuda.most, held);
	for (size_t i = bytes - 100; i < bytes; i++)
		assert_int_equal(spare[i], 7);
	device_memory_release(chooser.memory, spare);
}

/* The first that can be had, of the most fused: timing it is for when there is memory again. */
static void without_memory_to_time_in_a_proposal_is_taken_as_it_comes(void **state)
{
	struct algo_choice found = {0, 0, 0};
	char key[LATENTD_CUDA_KEY_SIZE];

	(void)state;
	teardown(NULL);
	open_chooser(MIB / 8);
	propose(CONV_BIAS_ADD, 0, 9, 0);
	proposals[CONV_BIAS_ADD][0].opens = false;
	propose(CONV_BIAS_ADD, 1, 7, MIB);
	propose(CONV_BIAS_ADD, 2, 8, 0);
	propose(CONV_PLAIN, 0, 1, 0);
	takes(&residual, 8);
	conv_problem_key(&residual, key, sizeof(key));
	assert_int_equal(algo_cache_find(chooser.cache, key, &found), -1);
	assert_int_equal(fake_cuda.held, 0);
}

static void nothing_that_works_is_an_error_with_its_cause(void **state)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct gpu_conv *conv = NULL;

	(void)state;
	propose(CONV_PLAIN, 0, 9, 9 * MIB);
	assert_int_equal(conv_choice_open(&chooser, &residual, &conv, &err), -1);
	assert_int_equal(err.code,
			 LATENTD_CUDA_NO_MEMORY); /* others behind it do not open at all */
	assert_null(conv);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_fastest_way_wins_the_kernel_behind_it_counted),
	    TEST(what_does_not_open_or_run_is_passed_over),
	    TEST(a_choice_is_remembered_and_what_has_become_of_it_is_noticed),
	    TEST(bands_of_about_one_height_share_a_choice),
	    TEST(what_does_not_open_in_time_does_not_hold_up_and_something_is_always_found),
	    TEST(workspaces_are_within_the_limits_or_not_taken),
	    TEST(it_is_timed_in_memory_that_nobody_needs),
	    TEST(without_memory_to_time_in_a_proposal_is_taken_as_it_comes),
	    TEST(nothing_that_works_is_an_error_with_its_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
