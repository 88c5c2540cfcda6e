/*
 * An engine has a unit for each encoder of the configuration: the encoder with this model loaded, and its driver. A
 * load is one task, which opens all units of an engine; between a load and its end nothing else touches them.
 */
#include "daemon/engines.h"

#include "daemon/encode_cuda.h"
#include "daemon/spending.h"

#include "base/checked.h"
#include "base/clock.h"
#include "config/encoder_scope.h"
#include "encoder/encoder_many.h"

#include <string.h>

/* An encoder of the configuration. */
struct entry {
	struct encoder_config config;
	char *name;
	char *engine_name; /* of the encoder that was opened last */
	struct error
	    lack; /* why it could not open the model that was loaded last, or failed since */
	struct work_hours hours;
	struct encode_device device;
	struct encode_remote_told told;
	struct spending *spending; /* NULL: without limits */
	uint64_t images, failed;
	struct rate rate;
	int64_t back_at; /* the last batch; monotonic ns */
};

/* That encoder with the model of one engine. */
struct unit {
	struct engine *engine;
	struct entry *entry;
	struct encoder *encoder;
	struct encode_driver *driver;
	size_t left_out; /* of several GPUs that are one encoder */
	bool out;	 /* of the group: it has failed */
};

struct engine {
	struct engines *engines;
	struct engine *next;
	char *vae, *vae_config, *vae_model, *precision; /* as recipe_options have them */
	enum engine_state state;
	struct error failure;
	bool known;   /* model was loaded once */
	bool decoder; /* its decoder is wanted */
	struct encode_model model;
	struct unit
	    *units; /* one for each entry; without an encoder where that cannot compute it */
	struct encode_group group;
	int64_t used_at; /* monotonic ms */
};

struct engines {
	struct inbox *inbox;
	struct engines_options options;
	struct executor *loader;
	struct entry *entries;
	size_t n;
	struct engine *first;
};

/* -- loading -------------------------------------------------------------------------------------- */

struct load_task {
	struct task base;
	struct engine *engine;
	bool decoder;
	struct encode_model model;
	struct encoder **encoders; /* one for each entry */
	struct error *lacks;	   /* why an entry has none, though it could compute the model */
	size_t opened;
	struct error err;
};

static int load_unit(struct load_task *t, size_t i, const struct recipe_options *options,
		     struct encode_model *model, struct error *err)
{
	const struct encoder_config *config = &t->engine->engines->entries[i].config;
	struct encoder_limits cpu = config->cpu;

	cpu.decoder = t->decoder;
	if (config->type == ENCODER_TYPE_CUDA)
		return encode_cuda_open(options, &config->cuda, model, &t->encoders[i], err, err);
	return encode_model_open(options, &cpu, model, &t->encoders[i], err);
}

/* Whether others may go on where the encoder cannot: a GPU may be gone, a processor is as it is. */
static bool may_lack(const struct engine *e, size_t i)
{
	return e->engines->entries[i].config.type == ENCODER_TYPE_CUDA ||
	       vae_precision_of(e->precision) == VAE_FLOAT16;
}

/* Encoders on this machine, which tell the model. */
static int load_local(struct load_task *t, const struct recipe_options *options)
{
	struct engine *e = t->engine;

	for (size_t i = 0; i < e->engines->n; i++) {
		const struct entry *entry = &e->engines->entries[i];
		struct encode_model model;

		if (entry->config.type == ENCODER_TYPE_REMOTE ||
		    !encoder_scope_has(&entry->config, e->vae))
			continue;
		if (load_unit(t, i, options, &model, &t->lacks[i]) == 0) {
			encode_model_add(&t->model, &model, t->opened++ == 0);
		} else if (!may_lack(e, i)) {
			t->err = t->lacks[i];
			return -1;
		}
	}
	return 0;
}

/* An endpoint has told the model before, and need not be there to tell it again. */
static bool is_told(const struct engine *e)
{
	return e->known && vae_source_of(e->vae, NULL) == VAE_SOURCE_ENDPOINT;
}

/* Endpoints, for a model that is known or that one of them tells. */
static int load_remote(struct load_task *t, const struct recipe_options *options)
{
	struct engine *e = t->engine;
	const struct encoder_scope_wish wish = {.precision = e->precision};

	for (size_t i = 0; i < e->engines->n; i++) {
		const struct entry *entry = &e->engines->entries[i];
		struct encode_model model = t->model;

		if (entry->config.type != ENCODER_TYPE_REMOTE ||
		    !encoder_scope_has(&entry->config, e->vae))
			continue;
		if (t->opened > 0 && encoder_scope_endpoint(&wish, &t->lacks[i]) < 0)
			continue;
		if (t->opened == 0 && is_told(e))
			model = e->model;
		else if (t->opened == 0 &&
			 encode_model_remote(options, &entry->config.remote,
					     spending_guard(entry->spending), &model, &t->err) < 0)
			return -1;
		if (encode_remote_open(
			&entry->config.remote, &model, e->engines->options.remote_memory,
			spending_guard(entry->spending), &t->encoders[i], &t->err) < 0)
			return -1;
		model.best_batch = encoder_caps(t->encoders[i])->best_batch;
		model.tiles = encoder_caps(t->encoders[i])->tiles;
		encode_model_add(&t->model, &model, t->opened++ == 0);
	}
	return 0;
}

static void load_run(struct task *task)
{
	struct load_task *t = (struct load_task *)task;
	struct engine *e = t->engine;
	const struct recipe_options options = {
	    .vae = e->vae, .vae_options = {e->vae_config, e->vae_model}, .precision = e->precision};

	if (load_local(t, &options) < 0 || load_remote(t, &options) < 0)
		return;
	for (size_t i = 0; i < e->engines->n && t->opened == 0 && t->err.code == ERR_NONE; i++)
		t->err = t->lacks[i];
	if (t->opened == 0 && t->err.code == ERR_NONE)
		error_set(&t->err, ERR_CONFIG, "no encoder of the configuration can compute %s",
			  e->vae);
}

static void engine_unload(struct engine *e)
{
	for (size_t i = 0; i < e->engines->n; i++) {
		struct unit *u = &e->units[i];

		encode_driver_close(u->driver);
		encoder_close(u->encoder);
		*u = (struct unit){.engine = e, .entry = u->entry};
	}
	encode_group_release(&e->group);
	e->state = ENGINE_UNLOADED;
}

static void engine_fail(struct engine *e, const struct error *why)
{
	engine_unload(e);
	e->state = ENGINE_FAILED;
	e->failure = *why;
}

static size_t in_flight(const struct engine *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->engines->n; i++)
		n += e->units[i].driver ? encode_driver_in_flight(e->units[i].driver) : 0;
	return n;
}

/* -- GPUs that are lost --------------------------------------------------------------------------- */

static void tell_left_out(struct unit *u, const struct error *why)
{
	const struct engines_options *options = &u->engine->engines->options;

	u->entry->lack = *why;
	if (options->on_left_out)
		options->on_left_out(options->arg, u->entry->name, why->message);
}

/* Some of several GPUs that are one encoder have failed since. */
static void look_at_gpus(struct unit *u)
{
	struct error why = ERROR_INIT;
	size_t n = encoder_many_left_out(u->encoder, &why);

	if (n > u->left_out && !u->out)
		tell_left_out(u, &why);
	u->left_out = n;
}

/* True: others go on with what the unit had in @batch. */
static bool leave_out(struct unit *u, struct encode_batch *batch, const struct error *failure)
{
	struct encode_group *group = &u->engine->group;

	if (!u->out) {
		encode_group_remove(group, u->driver);
		tell_left_out(u, failure);
		u->out = true;
	}
	for (size_t i = 0; i < batch->n && group->n > 0; i++) {
		struct error *why = &batch->items[i].error;

		if (why->code != ERR_NONE && why->code != ERR_DATA)
			why->code = ERR_TRANSIENT;
	}
	return group->n > 0;
}

/* A batch that waited behind others counts from when the one before it came back. */
static void count_batch(struct unit *u, const struct encode_batch *batch, size_t done)
{
	struct entry *entry = u->entry;
	int64_t now = clock_mono_ns();
	int64_t since = batch->given_at > entry->back_at ? batch->given_at : entry->back_at;

	entry->back_at = now;
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
	struct unit *u = arg;
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
	if (e->state == ENGINE_READY && e->group.n == 0 && in_flight(e) == 0) {
		engine_fail(e, &u->entry->lack);
		engines->options.on_change(engines->options.arg);
	}
}

static int unit_open(struct unit *u, struct encoder *encoder, struct error *err)
{
	struct engine *e = u->engine;

	u->encoder = encoder;
	if (encode_driver_open(e->engines->inbox, encoder, unit_on_batch, u, &u->driver, err) < 0)
		return -1;
	free(u->entry->engine_name);
	u->entry->engine_name = xstrdup(encoder_caps(encoder)->engine);
	encode_device_init(&u->entry->device, encoder);
	encode_driver_share(u->driver, &u->entry->device);
	encode_driver_rest(u->driver, u->entry->hours.rests);
	encode_group_add(&e->group, u->driver);
	return 0;
}

static void load_done(struct task *task)
{
	struct load_task *t = (struct load_task *)task;
	struct engine *e = t->engine;

	if (t->err.code == ERR_NONE && e->known && !encode_model_same(&e->model, &t->model))
		error_set(&t->err, ERR_CONFIG,
			  "the model at %s is another one than before: give the dataset another "
			  "name, or put the old one back",
			  e->vae);
	for (size_t i = 0; i < e->engines->n; i++) {
		e->engines->entries[i].lack = t->lacks[i];
		if (t->encoders[i] && t->err.code == ERR_NONE)
			unit_open(&e->units[i], t->encoders[i], &t->err);
		else
			encoder_close(t->encoders[i]);
	}
	if (t->err.code != ERR_NONE) {
		engine_fail(e, &t->err);
	} else {
		e->model = t->model;
		e->known = true;
		e->state = ENGINE_READY;
		e->used_at = clock_mono_ms();
	}
	e->engines->options.on_change(e->engines->options.arg);
	free(t->encoders);
	free(t->lacks);
	free(t);
}

void engine_want_decoder(struct engine *e)
{
	e->decoder = true;
}

void engine_want(struct engine *e)
{
	struct load_task *t;

	e->used_at = clock_mono_ms();
	if (e->state == ENGINE_READY || e->state == ENGINE_LOADING)
		return;
	t = xcalloc(1, sizeof(*t));
	t->base.run = load_run;
	t->base.done = load_done;
	t->engine = e;
	t->decoder = e->decoder;
	t->encoders = xcalloc(e->engines->n, sizeof(struct encoder *));
	t->lacks = xcalloc(e->engines->n, sizeof(struct error));
	e->state = ENGINE_LOADING;
	executor_post(e->engines->loader, &t->base);
}

/* -- one engine ----------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static char *copy_text(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static bool is_asked_for(const struct engine *e, const struct recipe_options *o,
			 const char *precision)
{
	return strcmp(e->vae, o->vae) == 0 && same_text(e->vae_config, o->vae_options.config) &&
	       same_text(e->vae_model, o->vae_options.model) && same_text(e->precision, precision);
}

/* Auto is the model's half precision where GPUs alone encode it; all others can compute in float32. */
static const char *precision_for(const struct engines *engines, const struct recipe_options *o)
{
	if (!o->precision || strcmp(o->precision, "auto") != 0)
		return o->precision;
	for (size_t i = 0; i < engines->n; i++) {
		const struct entry *entry = &engines->entries[i];

		if (entry->config.type != ENCODER_TYPE_CUDA &&
		    encoder_scope_has(&entry->config, o->vae))
			return "f32";
	}
	return o->precision;
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
	e->units = xcalloc(engines->n, sizeof(*e->units));
	for (size_t i = 0; i < engines->n; i++) {
		e->units[i].engine = e;
		e->units[i].entry = &engines->entries[i];
	}
	e->next = engines->first;
	engines->first = e;
	return e;
}

enum engine_state engine_state(const struct engine *e)
{
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

/* -- hours ------------------------------------------------------------------------------------------ */

static void look_at_clock(struct engines *engines, size_t index)
{
	struct entry *entry = &engines->entries[index];

	if (!work_hours_look(&entry->hours))
		return;
	for (struct engine *e = engines->first; e; e = e->next) {
		if (e->units[index].driver)
			encode_driver_rest(e->units[index].driver, entry->hours.rests);
	}
	engines->options.on_change(engines->options.arg);
}

void engines_set_hours(struct engines *engines, const char *name, const char *hours)
{
	for (size_t i = 0; i < engines->n; i++) {
		if (strcmp(engines->entries[i].name, name) != 0)
			continue;
		work_hours_set(&engines->entries[i].hours, hours);
		look_at_clock(engines, i);
	}
}

const struct work_hours *engines_hours(const struct engines *engines, size_t index)
{
	return &engines->entries[index].hours;
}

static bool is_of(const struct engine *e, const struct entry *entry)
{
	return encoder_scope_has(&entry->config, e->vae);
}

const struct work_hours *engine_rests(const struct engine *e)
{
	const struct work_hours *first = NULL;

	for (size_t i = 0; i < e->engines->n; i++) {
		const struct entry *entry = &e->engines->entries[i];

		if (!is_of(e, entry))
			continue;
		if (!entry->hours.rests)
			return NULL;
		if (!first || entry->hours.resumes_at < first->resumes_at)
			first = &entry->hours;
	}
	return first;
}

/* -- all of them ---------------------------------------------------------------------------------- */

static int open_accounts(struct engines *engines, struct error *err)
{
	for (size_t i = 0; i < engines->n; i++) {
		struct entry *entry = &engines->entries[i];

		if (entry->config.type != ENCODER_TYPE_REMOTE)
			continue;
		entry->spending = spending_new(entry->name, &entry->config.remote.options);
		if (engines->options.queue &&
		    spending_load(entry->spending, engines->options.queue, err) < 0)
			return -1;
	}
	return 0;
}

int engines_open(struct inbox *inbox, const struct encoder_config *configs, size_t n,
		 const struct engines_options *options, struct engines **out, struct error *err)
{
	struct engines *engines = xcalloc(1, sizeof(*engines));

	engines->inbox = inbox;
	engines->options = *options;
	engines->n = n;
	engines->entries = xcalloc(n, sizeof(*engines->entries));
	for (size_t i = 0; i < n; i++) {
		engines->entries[i].config = configs[i];
		engines->entries[i].config.cpu.beside = options->memory_limit;
		engines->entries[i].name = xstrdup(configs[i].name);
		engines->entries[i].device.limit = 1;
		work_hours_set(&engines->entries[i].hours, configs[i].hours);
		work_hours_look(&engines->entries[i].hours);
	}
	if (open_accounts(engines, err) < 0 ||
	    executor_open(inbox, "models", &engines->loader, err) < 0) {
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
		free(e->units);
		free(e->vae);
		free(e->vae_config);
		free(e->vae_model);
		free(e->precision);
		free(e);
	}
	for (size_t i = 0; i < engines->n; i++) {
		spending_close(engines->entries[i].spending, engines->options.queue);
		free(engines->entries[i].name);
		free(engines->entries[i].engine_name);
	}
	free(engines->entries);
	free(engines);
}

static enum encode_remote_health look_at(const struct engines *engines, size_t index,
					 struct buffer *why)
{
	enum encode_remote_health worst = ENCODE_REMOTE_FINE;

	for (const struct engine *e = engines->first; e; e = e->next) {
		const struct unit *u = &e->units[index];
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

	look_at(engines, index, &why);
	return why.size > 0 ? xstrdup((const char *)why.data) : NULL;
}

void engines_each(const struct engines *engines, size_t index,
		  void (*look)(void *arg, const struct encoder *encoder, const char *model),
		  void *arg)
{
	for (const struct engine *e = engines->first; e; e = e->next) {
		if (e->units[index].encoder)
			look(arg, e->units[index].encoder, e->model.name);
	}
}

static void tell_health(struct engines *engines, size_t index)
{
	cleanup_buffer struct buffer why = BUFFER_INIT;
	struct entry *entry = &engines->entries[index];
	enum encode_remote_health health = look_at(engines, index, &why);

	if (!encode_remote_is_news(&entry->told, health, clock_mono_ms()))
		return;
	engines->options.on_health(engines->options.arg, entry->name, health,
				   why.data ? (const char *)why.data : "");
}

void engines_tick(struct engines *engines)
{
	int64_t now = clock_mono_ms();

	for (struct engine *e = engines->first; e; e = e->next) {
		if (e->state == ENGINE_READY && in_flight(e) == 0 &&
		    now - e->used_at >= engines->options.model_idle_ms)
			engine_unload(e);
	}
	for (size_t i = 0; i < engines->n; i++) {
		look_at_clock(engines, i);
		tell_health(engines, i);
		if (engines->options.db)
			spending_save(engines->entries[i].spending, engines->options.db);
	}
}

void engines_cancel(struct engines *engines)
{
	for (struct engine *e = engines->first; e; e = e->next) {
		for (size_t i = 0; i < engines->n; i++)
			encode_driver_cancel(e->units[i].driver);
	}
}

size_t engines_count(const struct engines *engines)
{
	return engines->n;
}

/* Of models that could not be loaded, where the encoder has no other: datasets tell of their own. */
static const struct error *failure_of(const struct engines *engines, const struct entry *entry)
{
	const struct error *failure = NULL;

	for (const struct engine *e = engines->first; e; e = e->next) {
		if (is_of(e, entry) && e->state != ENGINE_FAILED)
			return NULL;
		if (is_of(e, entry))
			failure = &e->failure;
	}
	return failure;
}

void engines_view(struct engines *engines, size_t index, struct encoder_view *view)
{
	struct entry *entry = &engines->entries[index];

	cleanup_buffer struct buffer why = BUFFER_INIT;

	*view = (struct encoder_view){
	    .name = entry->name,
	    .health = look_at(engines, index, &why),
	    .type = encoder_type_name(entry->config.type),
	    .engine = entry->engine_name,
	    .in_flight = entry->device.in_flight,
	    .images = entry->device.images,
	    .images_done = entry->images,
	    .images_failed = entry->failed,
	    .busy_ns = encode_device_busy_ns(&entry->device, clock_mono_ns()),
	    .images_per_second = rate_per_second(&entry->rate, clock_mono_ms())};
	if (entry->lack.code != ERR_NONE)
		view->failure = &entry->lack;
	else
		view->failure = failure_of(engines, entry);
	for (const struct engine *e = engines->first; e; e = e->next) {
		view->loading = view->loading || e->state == ENGINE_LOADING;
		view->ready = view->ready || e->units[index].encoder;
	}
}

bool engines_busy(const struct engines *engines)
{
	for (const struct engine *e = engines->first; e; e = e->next) {
		if (e->state == ENGINE_LOADING || in_flight(e) > 0)
			return true;
	}
	return false;
}

bool engines_only_load(const struct engines *engines)
{
	bool loads = false;

	for (const struct engine *e = engines->first; e; e = e->next) {
		if (in_flight(e) > 0)
			return false;
		loads = loads || e->state == ENGINE_LOADING;
	}
	return loads;
}

void engines_abandon(struct engines *engines)
{
	for (size_t i = 0; i < engines->n && engines->options.queue; i++)
		spending_flush(engines->entries[i].spending, engines->options.queue);
}

uint64_t engines_progress(const struct engines *engines, bool *busy)
{
	uint64_t sum = 0;

	*busy = false;
	for (size_t i = 0; i < engines->n; i++)
		sum += engines->entries[i].images;
	for (const struct engine *e = engines->first; e; e = e->next) {
		*busy = *busy || in_flight(e) > 0;
		for (size_t i = 0; i < engines->n; i++)
			sum += e->units[i].encoder ? encoder_ticks(e->units[i].encoder) : 0;
	}
	return sum;
}
