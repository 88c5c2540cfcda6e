#include "daemon/engines_parts.h"

#include "base/checked.h"
#include "base/clock.h"

enum encode_remote_health engines_look_at(const struct engines *engines, size_t index,
					  struct buffer *why)
{
	enum encode_remote_health worst = ENCODE_REMOTE_FINE;

	if (!spending_is_known(engines->entries[index]->spending)) {
		buffer_append_string(why, "waits for the database to say what it has spent");
		return ENCODE_REMOTE_WAITS;
	}
	for (const struct engine *e = engines->first; e; e = e->next) {
		const struct engine_unit *u = e->units[index];
		enum encode_remote_health health = ENCODE_REMOTE_FINE;

		if (!u->encoder || u->entry->config.type != ENCODER_TYPE_REMOTE)
			continue;
		if (why->size > 0)
			buffer_append_string(why, "; ");
		health = encode_remote_look(u->encoder, why);
		worst = health > worst ? health : worst;
	}
	return worst;
}

char *engines_why(const struct engines *engines, size_t index)
{
	cleanup_buffer struct buffer why = BUFFER_INIT;

	engines_look_at(engines, index, &why);
	return why.size > 0 ? xstrdup((const char *)why.data) : NULL;
}

void engines_each(const struct engines *engines, size_t index,
		  void (*look)(void *arg, const struct encoder *encoder, const char *model),
		  void *arg)
{
	for (const struct engine *e = engines->first; e; e = e->next) {
		if (e->units[index]->encoder)
			look(arg, e->units[index]->encoder, e->model.name);
	}
}

size_t engines_count(const struct engines *engines)
{
	return engines->n;
}

uint64_t engines_id(const struct engines *engines, size_t index)
{
	return engines->entries[index]->id;
}

/* Of models that could not be loaded, where the encoder has no other: datasets tell of their own. */
static const struct error *failure_of(const struct engines *engines, size_t index)
{
	const struct error *failure = NULL;

	for (const struct engine *e = engines->first; e; e = e->next) {
		if (engine_has(e, index) && e->state != ENGINE_FAILED)
			return NULL;
		if (engine_has(e, index))
			failure = &e->failure;
	}
	return failure;
}

/* Each model keeps to the limit by itself. */
static void add_memory(const struct engines *engines, size_t index, struct encoder_memory *sum)
{
	bool limited = true;

	for (const struct engine *e = engines->first; e; e = e->next) {
		struct encoder_memory one = {0, 0};

		if (!e->units[index]->encoder || !encoder_memory(e->units[index]->encoder, &one))
			continue;
		sum->used += one.used;
		sum->limit += one.limit;
		limited = limited && one.limit > 0;
	}
	if (!limited)
		sum->limit = 0;
}

void engines_view(struct engines *engines, size_t index, struct encoder_view *view)
{
	struct engine_entry *entry = engines->entries[index];

	cleanup_buffer struct buffer why = BUFFER_INIT;

	*view = (struct encoder_view){
	    .name = entry->name,
	    .health = engines_look_at(engines, index, &why),
	    .type = encoder_type_name(entry->config.type),
	    .engine = entry->engine_name,
	    .in_flight = entry->device.in_flight,
	    .images = entry->device.images,
	    .batch = entry->batch,
	    .images_done = entry->images,
	    .images_failed = entry->failed,
	    .busy_ns = encode_device_busy_ns(&entry->device, clock_mono_ns()),
	    .images_per_second = rate_per_second(&entry->rate, clock_mono_ms())};
	if (entry->lack.code != ERR_NONE)
		view->failure = &entry->lack;
	else
		view->failure = failure_of(engines, index);
	for (const struct engine *e = engines->first; e; e = e->next) {
		const struct engine_unit *u = e->units[index];

		view->loading = view->loading || u->drains || u->opening ||
				(e->state == ENGINE_LOADING && engine_has(e, index));
		view->ready = view->ready || u->encoder;
	}
	add_memory(engines, index, &view->memory);
}
