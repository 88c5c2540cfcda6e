#include "tests/component/engines_rig.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "queue/queue_open.h"

#include <string.h>

enum { SIDE = 16, TURN_USEC = 30 * 1000 * 1000 };

static const uint8_t pixels[SIDE * SIDE * 3];

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	struct engines_rig *f = arg;

	if (!f->may_fail)
		assert_int_equal(failure->code, ERR_NONE);
	f->failure = *failure;
	f->batches++;
	for (size_t i = 0; i < batch->n; i++)
		f->lost += batch->items[i].error.code == ERR_TRANSIENT;
	f->images += batch->n;
	snprintf(f->engine, sizeof(f->engine), "%s", batch->engine);
	encode_batch_free(batch);
}

static void on_change(void *arg)
{
	((struct engines_rig *)arg)->changes++;
}

static void on_left_out(void *arg, const char *name, const char *why)
{
	struct engines_rig *f = arg;

	snprintf(f->left_out, sizeof(f->left_out), "%s: %s", name, why);
}

static void on_back(void *arg, const char *name)
{
	(void)name;
	((struct engines_rig *)arg)->back++;
}

static void begin(struct engines_rig *f)
{
	memset(f, 0, sizeof(*f));
	assert_true(sd_event_new(&f->event) >= 0);
	assert_ok(inbox_open(f->event, &f->inbox, &f->err), &f->err);
}

static void open_engines(struct engines_rig *f, const struct encoder_config *configs, size_t n,
			 int64_t idle_ms)
{
	const struct engines_options options = {.model_idle_ms = idle_ms,
						.queue = f->queue,
						.db = f->db,
						.gpu_again_ms = 1,
						.remote_memory = (size_t)16 << 20,
						.on_back = on_back,
						.on_batch = on_batch,
						.on_change = on_change,
						.on_left_out = on_left_out,
						.arg = f};

	assert_ok(engines_open(f->inbox, configs, n, &options, &f->engines, &f->err), &f->err);
}

void rig_open(struct engines_rig *f, const struct encoder_config *configs, size_t n,
	      int64_t idle_ms)
{
	begin(f);
	open_engines(f, configs, n, idle_ms);
}

void rig_open_spending(struct engines_rig *f, const struct encoder_config *configs, size_t n)
{
	begin(f);
	assert_ok(queue_memory_open(&f->queue, &f->err), &f->err);
	assert_ok(db_open(f->inbox, f->queue, "tests", &f->db, &f->err), &f->err);
	open_engines(f, configs, n, 1000000);
}

void rig_close(struct engines_rig *f)
{
	db_close(f->db);
	engines_close(f->engines);
	queue_close(f->queue);
	inbox_close(f->inbox);
	sd_event_unref(f->event);
}

void rig_turn(struct engines_rig *f)
{
	assert_true(sd_event_run(f->event, TURN_USEC) > 0);
}

struct engine *rig_wanted(struct engines_rig *f, const char *vae)
{
	const struct recipe_options options = {.vae = vae};
	struct engine *e = engines_get(f->engines, &options);

	engine_want(e);
	while (engine_state(e) == ENGINE_LOADING)
		rig_turn(f);
	return e;
}

struct encode_batch *rig_batch(size_t n)
{
	struct encode_batch *b = encode_batch_new(n);

	b->width = b->height = SIDE;
	for (size_t i = 0; i < n; i++)
		b->items[i].pixels = pixels;
	return b;
}

void rig_submit(const struct encode_group *g, struct encode_batch *batch)
{
	struct encode_driver *d = encode_group_pick(g, 0);

	assert_non_null(d);
	encode_driver_submit(d, batch);
}

struct engine *rig_load(struct engines_rig *f, const struct recipe_options *recipe)
{
	struct engine *e = engines_get(f->engines, recipe);

	engine_want(e);
	while (engine_state(e) == ENGINE_LOADING)
		rig_turn(f);
	if (engine_state(e) == ENGINE_FAILED)
		fail_msg("%s", engine_failure(e)->message);
	return e;
}

void rig_use_plugin(const char *path)
{
	cleanup_free char *host = xasprintf("%s/tests/host_plugin.so", getenv("LATENTD_BUILD_DIR"));

	setenv("LATENTD_CUDA_PLUGIN", path ? path : host, 1);
}

void rig_settle(struct engines_rig *f)
{
	while (engines_busy(f->engines))
		rig_turn(f);
}

void rig_assert_no_failure(struct engines_rig *f)
{
	for (size_t i = 0; i < engines_count(f->engines); i++) {
		struct encoder_view view;

		engines_view(f->engines, i, &view);
		if (view.failure)
			fail_msg("%s: %s", view.name, view.failure->message);
	}
}
