#include "daemon/engines_parts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "config/encoder_scope.h"

#include <string.h>

void engine_unload(struct engine *e)
{
	for (size_t i = 0; i < e->engines->n; i++)
		engine_unit_close(e->units[i]);
	encode_group_release(&e->group);
	e->state = ENGINE_UNLOADED;
}

void engine_fail(struct engine *e, const struct error *why)
{
	engine_unload(e);
	e->state = ENGINE_FAILED;
	e->failure = *why;
}

size_t engine_in_flight(const struct engine *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->engines->n; i++)
		n += e->units[i]->driver ? encode_driver_in_flight(e->units[i]->driver) : 0;
	return n;
}

void engine_want_decoder(struct engine *e)
{
	e->decoder = true;
}

void engine_want(struct engine *e)
{
	e->used_at = clock_mono_ms();
	if (e->state != ENGINE_READY && e->state != ENGINE_LOADING)
		engine_load(e);
}

/* -- one engine ----------------------------------------------------------------------------------- */

static char *copy_text(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static bool is_asked_for(const struct engine *e, const struct recipe_options *o,
			 const char *precision)
{
	return strcmp(e->vae, o->vae) == 0 && text_same(e->vae_config, o->vae_options.config) &&
	       text_same(e->vae_model, o->vae_options.model) && text_same(e->precision, precision);
}

/* Auto is the model's half precision where GPUs alone encode it; all others can compute in float32. */
static const char *precision_for(const struct engines *engines, const struct recipe_options *o)
{
	if (!o->precision || strcmp(o->precision, "auto") != 0)
		return o->precision;
	for (size_t i = 0; i < engines->n; i++) {
		const struct engine_entry *entry = engines->entries[i];

		if (!entry->leaves && entry->config.type != ENCODER_TYPE_CUDA &&
		    encoder_scope_has(&entry->config, o->vae))
			return "f32";
	}
	return o->precision;
}

static void add_unit(struct engine *e, size_t index)
{
	struct engine_unit *u = xcalloc(1, sizeof(*u));

	u->engine = e;
	u->entry = e->engines->entries[index];
	e->units = xrealloc(e->units, index + 1, sizeof(*e->units));
	e->units[index] = u;
}

struct engine *engines_get(struct engines *engines, const struct recipe_options *options)
{
	const char *precision = precision_for(engines, options);
	struct engine *e = engines->first;

	while (e && !is_asked_for(e, options, precision))
		e = e->next;
	if (e)
		return e;
	e = xcalloc(1, sizeof(*e));
	e->engines = engines;
	e->vae = xstrdup(options->vae);
	e->vae_config = copy_text(options->vae_options.config);
	e->vae_model = copy_text(options->vae_options.model);
	e->precision = copy_text(precision);
	for (size_t i = 0; i < engines->n; i++)
		add_unit(e, i);
	e->next = engines->first;
	engines->first = e;
	return e;
}

enum engine_state engine_state(const struct engine *e)
{
	if (e->state == ENGINE_READY && e->group.n == 0 && engine_is_changing(e))
		return ENGINE_LOADING;
	return e->state;
}

const struct error *engine_failure(const struct engine *e)
{
	return &e->failure;
}

const struct encode_model *engine_model(const struct engine *e)
{
	return &e->model;
}

struct encode_group *engine_group(struct engine *e)
{
	return &e->group;
}

bool engine_lacks(const struct engine *e, unsigned needs)
{
	return e->state == ENGINE_READY && !encode_group_can(&e->group, needs) &&
	       !engine_is_changing(e);
}

/* -- hours ------------------------------------------------------------------------------------------ */

void engine_entry_look_at_clock(struct engines *engines, size_t index)
{
	struct engine_entry *entry = engines->entries[index];

	if (!work_hours_look(&entry->hours))
		return;
	for (struct engine *e = engines->first; e; e = e->next) {
		if (e->units[index]->driver)
			encode_driver_rest(e->units[index]->driver, entry->hours.rests);
	}
	engines->options.on_change(engines->options.arg);
}

bool engines_pause(struct engines *engines, const char *name, bool paused)
{
	for (size_t i = 0; i < engines->n; i++) {
		if (engines->entries[i]->leaves || strcmp(engines->entries[i]->name, name) != 0)
			continue;
		work_hours_pause(&engines->entries[i]->hours, paused);
		engine_entry_look_at_clock(engines, i);
		return true;
	}
	return false;
}

const struct work_hours *engines_hours(const struct engines *engines, size_t index)
{
	return &engines->entries[index]->hours;
}

bool engine_has(const struct engine *e, size_t index)
{
	const struct engine_entry *entry = e->engines->entries[index];

	return !entry->leaves && encoder_scope_has(&entry->config, e->vae);
}

static bool goes_on_before(const struct work_hours *a, const struct work_hours *b)
{
	if (a->resumes_at == 0 || b->resumes_at == 0)
		return a->resumes_at != 0;
	return a->resumes_at < b->resumes_at;
}

const struct work_hours *engine_rests(const struct engine *e)
{
	const struct work_hours *first = NULL;

	for (size_t i = 0; i < e->engines->n; i++) {
		const struct engine_entry *entry = e->engines->entries[i];

		if (!engine_has(e, i))
			continue;
		if (!entry->hours.rests)
			return NULL;
		if (!first || goes_on_before(&entry->hours, first))
			first = &entry->hours;
	}
	return first;
}

static bool can_compute(const struct engine_unit *u)
{
	cleanup_buffer struct buffer why = BUFFER_INIT;

	if (encode_driver_is_shut(u->driver))
		return false;
	return u->entry->config.type != ENCODER_TYPE_REMOTE ||
	       encode_remote_look(u->encoder, &why) == ENCODE_REMOTE_FINE;
}

bool engine_is_shut(const struct engine *e, unsigned needs)
{
	if (e->state != ENGINE_READY || engine_is_changing(e))
		return false;
	for (size_t i = 0; i < e->engines->n; i++) {
		const struct engine_unit *u = e->units[i];

		if (u->driver && !u->out && encode_driver_can(u->driver, needs) && can_compute(u))
			return false;
	}
	return true;
}

bool engine_is_here(const struct engine *e)
{
	for (size_t i = 0; i < e->engines->n; i++) {
		const struct engine_entry *entry = e->engines->entries[i];
		const struct engine_unit *u = e->units[i];

		if (engine_has(e, i) && entry->config.type != ENCODER_TYPE_REMOTE &&
		    !entry->hours.rests &&
		    (e->state != ENGINE_READY || u->drains || u->opening || (u->driver && !u->out)))
			return true;
	}
	return false;
}

/* -- all of them ---------------------------------------------------------------------------------- */

/* One that leaves may spend yet what counts for another of its name. */
static struct spending *spending_for(const struct engines *engines,
				     const struct encoder_config *config)
{
	for (size_t i = 0; i < engines->n; i++) {
		const struct engine_entry *entry = engines->entries[i];

		if (!entry->leaves || !entry->spending ||
		    strcmp(entry->config.name, config->name) != 0)
			continue;
		spending_limit(entry->spending, &config->remote.options);
		return spending_share(entry->spending);
	}
	return spending_new(config->name, &config->remote.options);
}

struct engine_entry *engine_entry_add(struct engines *engines, const struct encoder_config *config)
{
	struct engine_entry *entry = xcalloc(1, sizeof(*entry));

	entry->id = ++engines->last_id;
	entry->version = entry->endpoints = 1;
	entry->config = *config;
	entry->config.cpu.beside = engines->options.memory_limit;
	entry->name = xstrdup(config->name);
	entry->device.limit = 1;
	work_hours_set(&entry->hours, config->hours);
	work_hours_look(&entry->hours);
	if (config->type == ENCODER_TYPE_REMOTE)
		entry->spending = spending_for(engines, config);
	ARRAY_GROW(engines->entries, engines->n, engines->capacity);
	engines->entries[engines->n] = entry;
	for (struct engine *e = engines->first; e; e = e->next)
		add_unit(e, engines->n);
	engines->n++;
	return entry;
}

static void entry_free(struct engine_entry *entry)
{
	free(entry->name);
	free(entry->engine_name);
	free(entry);
}

void engine_entry_remove(struct engines *engines, size_t index)
{
	struct engine_entry *entry = engines->entries[index];
	size_t behind = --engines->n - index;

	memmove(&engines->entries[index], &engines->entries[index + 1],
		behind * sizeof(*engines->entries));
	for (struct engine *e = engines->first; e; e = e->next) {
		free(e->units[index]);
		memmove(&e->units[index], &e->units[index + 1], behind * sizeof(*e->units));
	}
	if (engines->options.db)
		spending_leave(entry->spending, engines->options.db);
	else
		spending_close(entry->spending, NULL);
	entry_free(entry);
}

int engines_open(struct inbox *inbox, const struct encoder_config *configs, size_t n,
		 const struct engines_options *options, struct engines **out, struct error *err)
{
	struct engines *engines = xcalloc(1, sizeof(*engines));
	int r = 0;

	engines->inbox = inbox;
	engines->options = *options;
	for (size_t i = 0; i < n && r == 0; i++) {
		struct engine_entry *entry = engine_entry_add(engines, &configs[i]);

		if (options->queue)
			r = spending_load(entry->spending, options->queue, err);
	}
	if (r < 0 || executor_open(inbox, "models", &engines->loader, err) < 0) {
		engines_close(engines);
		return -1;
	}
	*out = engines;
	return 0;
}

void engines_close(struct engines *engines)
{
	struct engine *e, *next;

	if (!engines)
		return;
	executor_close(engines->loader);
	for (e = engines->first; e; e = next) {
		next = e->next;
		engine_unload(e);
		for (size_t i = 0; i < engines->n; i++)
			free(e->units[i]);
		free(e->units);
		free(e->vae);
		free(e->vae_config);
		free(e->vae_model);
		free(e->precision);
		free(e);
	}
	for (size_t i = 0; i < engines->n; i++) {
		spending_close(engines->entries[i]->spending, engines->options.queue);
		entry_free(engines->entries[i]);
	}
	free(engines->entries);
	free(engines);
}

static void tell_health(struct engines *engines, size_t index)
{
	cleanup_buffer struct buffer why = BUFFER_INIT;
	struct engine_entry *entry = engines->entries[index];
	enum encode_remote_health health = engines_look_at(engines, index, &why);

	if (!encode_remote_is_news(&entry->told, health, clock_mono_ms()))
		return;
	engines->options.on_health(engines->options.arg, entry->name, health,
				   why.data ? (const char *)why.data : "");
}

void engines_tick(struct engines *engines)
{
	int64_t now = clock_mono_ms();

	for (struct engine *e = engines->first; e; e = e->next) {
		if (e->state == ENGINE_READY && engine_in_flight(e) == 0 &&
		    now - e->used_at >= engines->options.model_idle_ms)
			engine_unload(e);
		if (e->state == ENGINE_READY)
			engine_units_look(e, now);
		engine_follow(e);
	}
	engines_forget_left(engines);
	for (size_t i = 0; i < engines->n; i++) {
		engine_entry_look_at_clock(engines, i);
		tell_health(engines, i);
		if (engines->options.db)
			spending_save(engines->entries[i]->spending, engines->options.db);
	}
}

void engines_cancel(struct engines *engines)
{
	for (struct engine *e = engines->first; e; e = e->next) {
		for (size_t i = 0; i < engines->n; i++)
			encode_driver_cancel(e->units[i]->driver);
	}
}

static bool is_loading(const struct engine *e)
{
	for (size_t i = 0; i < e->engines->n; i++) {
		if (e->units[i]->opening)
			return true;
	}
	return e->state == ENGINE_LOADING;
}

bool engines_busy(const struct engines *engines)
{
	for (const struct engine *e = engines->first; e; e = e->next) {
		if (is_loading(e) || engine_in_flight(e) > 0)
			return true;
	}
	return false;
}

bool engines_only_load(const struct engines *engines)
{
	bool loads = false;

	for (const struct engine *e = engines->first; e; e = e->next) {
		if (engine_in_flight(e) > 0)
			return false;
		loads = loads || is_loading(e);
	}
	return loads;
}

void engines_abandon(struct engines *engines)
{
	for (size_t i = 0; i < engines->n && engines->options.queue; i++)
		spending_flush(engines->entries[i]->spending, engines->options.queue);
}

uint64_t engines_progress(const struct engines *engines, bool *busy)
{
	uint64_t sum = 0;

	*busy = false;
	for (size_t i = 0; i < engines->n; i++)
		sum += engines->entries[i]->images;
	for (const struct engine *e = engines->first; e; e = e->next) {
		*busy = *busy || engine_in_flight(e) > 0;
		for (size_t i = 0; i < engines->n; i++)
			sum += e->units[i]->encoder ? encoder_ticks(e->units[i]->encoder) : 0;
	}
	return sum;
}
