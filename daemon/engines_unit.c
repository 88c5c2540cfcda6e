#include "daemon/engines_parts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "encoder/encoder_many.h"

/* An average looks back over so many. */
enum { BATCHES = 8 };

/* -- GPUs that are lost --------------------------------------------------------------------------- */

void engine_unit_tell(struct engine_unit *u, const struct error *why)
{
	const struct engines_options *options = &u->engine->engines->options;

	u->entry->lack = *why;
	if (options->on_left_out)
		options->on_left_out(options->arg, u->entry->name, why->message);
}

/* Some of several GPUs that are one encoder have failed since. */
static void look_at_gpus(struct engine_unit *u)
{
	struct error why = ERROR_INIT;
	size_t n = encoder_many_left_out(u->encoder, &why);

	if (n > u->left_out && !u->out)
		engine_unit_tell(u, &why);
	u->left_out = n;
}

/* True: others go on with what the unit had in @batch. */
static bool leave_out(struct engine_unit *u, struct encode_batch *batch,
		      const struct error *failure)
{
	struct encode_group *group = &u->engine->group;

	if (!u->out) {
		encode_group_remove(group, u->driver);
		engine_unit_tell(u, failure);
		u->out = true;
		u->out_at = clock_mono_ms();
	}
	for (size_t i = 0; i < batch->n && group->n > 0; i++) {
		struct error *why = &batch->items[i].error;

		if (why->code != ERR_NONE && why->code != ERR_DATA)
			why->code = ERR_TRANSIENT;
	}
	return group->n > 0;
}

void engine_units_look(struct engine *e, int64_t now)
{
	int64_t wait = e->engines->options.gpu_again_ms;

	for (size_t i = 0; i < e->engines->n && wait > 0; i++) {
		struct engine_unit *u = e->units[i];

		if (!u->out || u->tried || u->drains || now - u->out_at < wait ||
		    encode_driver_in_flight(u->driver) > 0)
			continue;
		/* what it holds of the GPU's memory goes first */
		engine_unit_close(u);
		u->out = u->tried = true;
		engine_load_unit(u);
	}
}

/* -- batches ---------------------------------------------------------------------------------------- */

/* A batch that waited behind others counts from when the one before it came back. */
static void count_batch(struct engine_unit *u, const struct encode_batch *batch, size_t done)
{
	struct engine_entry *entry = u->entry;
	int64_t now = clock_mono_ns();
	int64_t since = batch->given_at > entry->back_at ? batch->given_at : entry->back_at;

	entry->back_at = now;
	entry->batch += ((double)batch->n - entry->batch) / (entry->batch > 0 ? BATCHES : 1);
	if (done > 0)
		stage_meter_did(u->engine->engines->options.stages, STAGE_ENCODE, done,
				(uint64_t)(now - since));
}

/* Images that are not to be blamed on the moment. */
static size_t count_failed(const struct encode_batch *batch)
{
	size_t n = 0;

	for (size_t i = 0; i < batch->n; i++) {
		enum error_code code = batch->items[i].error.code;

		n += code != ERR_NONE && code != ERR_TRANSIENT;
	}
	return n;
}

static void unit_on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	const struct error none = ERROR_INIT;
	struct engine_unit *u = arg;
	struct engine *e = u->engine;
	struct engines *engines = e->engines;
	size_t done = 0;

	for (size_t i = 0; i < batch->n; i++)
		done += batch->items[i].error.code == ERR_NONE;
	u->entry->images += done;
	u->entry->failed += count_failed(batch);
	count_batch(u, batch, done);
	rate_add(&u->entry->rate, clock_mono_ms(), (uint32_t)done);
	e->used_at = clock_mono_ms();
	if (failure->code != ERR_NONE && u->entry->config.type == ENCODER_TYPE_CUDA &&
	    leave_out(u, batch, failure))
		failure = &none;
	look_at_gpus(u);
	engines->options.on_batch(engines->options.arg, batch, failure);
	engine_follow(e);
	engines_forget_left(engines);
}

int engine_unit_open(struct engine_unit *u, struct encoder *encoder, struct error *err)
{
	struct engine *e = u->engine;

	u->encoder = encoder;
	if (encode_driver_open(e->engines->inbox, encoder, unit_on_batch, u, &u->driver, err) < 0) {
		encoder_close(TAKE(u->encoder));
		return -1;
	}
	free(u->entry->engine_name);
	u->entry->engine_name = xstrdup(encoder_caps(encoder)->engine);
	encode_device_init(&u->entry->device, encoder);
	encode_driver_share(u->driver, &u->entry->device);
	encode_driver_rest(u->driver, u->entry->hours.rests);
	encode_group_add(&e->group, u->driver);
	return 0;
}

/* What the loader's thread does for it stays to come. */
void engine_unit_close(struct engine_unit *u)
{
	encode_driver_close(u->driver);
	encoder_close(u->encoder);
	*u = (struct engine_unit){.engine = u->engine, .entry = u->entry, .tasks = u->tasks};
}
