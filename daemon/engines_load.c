#include "daemon/engines_parts.h"

#include "daemon/encode_cuda.h"

#include "base/checked.h"
#include "base/clock.h"
#include "config/encoder_scope.h"
#include "vae/vae_engine.h"

#include <string.h>

/* An encoder, as its entry was when the task was posted. */
struct loading {
	struct encoder_config config;
	uint64_t version, endpoints;
	struct cost_guard *guard; /* the entry waits for the task */
	bool wanted;		  /* it may compute the model */
	struct encoder *encoder;
	struct error lack; /* why there is none, or which GPUs are left out */
};

static struct loading loading_of(const struct engine *e, size_t index)
{
	const struct engine_entry *entry = e->engines->entries[index];

	return (struct loading){.config = entry->config,
				.version = entry->version,
				.endpoints = entry->endpoints,
				.guard = spending_guard(entry->spending),
				.wanted = engine_has(e, index)};
}

static bool is_auto(const struct engine *e)
{
	return e->precision && strcmp(e->precision, "auto") == 0;
}

/*
 * Auto is what the first encoder takes it for, as the recipe has it from then on: all others are asked for that. @model: as it is
 * known; NULL: not yet.
 */
static const char *precision_of(const struct engine *e, const struct encode_model *model)
{
	return model && is_auto(e) ? vae_precision_setting(model->precision) : e->precision;
}

static struct recipe_options options_of(const struct engine *e, const char *precision)
{
	return (struct recipe_options){
	    .vae = e->vae, .vae_options = {e->vae_config, e->vae_model}, .precision = precision};
}

/* One on this machine, which tells the model. */
static int open_local(const struct engine *e, struct loading *l, const char *precision,
		      bool decoder, struct encode_model *model, struct error *err)
{
	const struct recipe_options options = options_of(e, precision);
	struct encoder_limits cpu = l->config.cpu;

	cpu.decoder = decoder;
	if (l->config.type == ENCODER_TYPE_CUDA)
		return encode_cuda_open(&options, &l->config.cuda, decoder, model, &l->encoder,
					&l->lack, err);
	return encode_model_open(&options, &cpu, model, &l->encoder, err);
}

/* Endpoints, for a model that is known. */
static int open_remote(const struct engine *e, struct loading *l, struct encode_model *model,
		       struct error *err)
{
	if (encode_remote_open(&l->config.remote, model, e->engines->options.remote_memory,
			       l->guard, &l->encoder, err) < 0)
		return -1;
	model->best_batch = encoder_caps(l->encoder)->best_batch;
	model->tiles = encoder_caps(l->encoder)->tiles;
	return 0;
}

static int check_precision(const char *precision, struct error *err)
{
	const struct encoder_scope_wish wish = {.precision = precision};

	return encoder_scope_endpoint(&wish, err);
}

/* -- a model, on all of them ---------------------------------------------------------------------- */

struct load_task {
	struct task base;
	struct engine *engine;
	bool decoder;
	struct encode_model model;
	struct loading *loadings; /* one for each entry; those that come meanwhile stand behind */
	size_t n;
	size_t opened;
	struct error err;
};

/*
 * Whether others may go on where the encoder cannot: a GPU may be gone, a processor is as it is, but came later where auto was not
 * taken for f32.
 */
static bool may_lack(const struct engine *e, const struct loading *l)
{
	return l->config.type == ENCODER_TYPE_CUDA || is_auto(e) ||
	       vae_precision_of(e->precision) == VAE_FLOAT16;
}

/* Of the encoder that is opened next. */
static const char *precision_next(const struct load_task *t)
{
	const struct engine *e = t->engine;

	return precision_of(e, e->known ? &e->model : t->opened > 0 ? &t->model : NULL);
}

static int load_local(struct load_task *t)
{
	struct engine *e = t->engine;

	for (size_t i = 0; i < t->n; i++) {
		struct loading *l = &t->loadings[i];
		const char *precision = precision_next(t);
		struct encode_model model;

		if (l->config.type == ENCODER_TYPE_REMOTE || !l->wanted)
			continue;
		if (open_local(e, l, precision, t->decoder, &model, &l->lack) == 0) {
			encode_model_add(&t->model, &model, t->opened++ == 0);
		} else if (!may_lack(e, l)) {
			t->err = l->lack;
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

/* For a model that is known or that an endpoint tells. */
static int load_remote(struct load_task *t)
{
	struct engine *e = t->engine;
	const struct recipe_options options = options_of(e, e->precision);

	for (size_t i = 0; i < t->n; i++) {
		struct loading *l = &t->loadings[i];
		struct encode_model model = t->model;

		if (l->config.type != ENCODER_TYPE_REMOTE || !l->wanted)
			continue;
		if ((e->known || t->opened > 0) && check_precision(precision_next(t), &l->lack) < 0)
			continue;
		if (t->opened == 0 && is_told(e))
			model = e->model;
		else if (t->opened == 0 && encode_model_remote(&options, &l->config.remote,
							       l->guard, &model, &t->err) < 0)
			return -1;
		if (open_remote(e, l, &model, &t->err) < 0)
			return -1;
		encode_model_add(&t->model, &model, t->opened++ == 0);
	}
	return 0;
}

int engine_has_none(const struct engine *e, struct error *err)
{
	return error_set(err, ERR_CONFIG, "no encoder of the configuration can compute %s", e->vae);
}

static void load_run(struct task *task)
{
	struct load_task *t = (struct load_task *)task;

	if (load_local(t) < 0 || load_remote(t) < 0)
		return;
	for (size_t i = 0; i < t->n && t->opened == 0 && t->err.code == ERR_NONE; i++)
		t->err = t->loadings[i].lack;
	if (t->opened == 0 && t->err.code == ERR_NONE)
		engine_has_none(t->engine, &t->err);
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
	for (size_t i = 0; i < t->n; i++) {
		struct loading *l = &t->loadings[i];

		e->units[i]->tasks--;
		e->units[i]->version = l->version;
		e->units[i]->endpoints = l->endpoints;
		e->engines->entries[i]->lack = l->lack;
		if (l->encoder && t->err.code == ERR_NONE)
			engine_unit_open(e->units[i], l->encoder, &t->err);
		else
			encoder_close(l->encoder);
	}
	if (t->err.code != ERR_NONE) {
		engine_fail(e, &t->err);
	} else {
		e->model = t->model;
		e->known = true;
		e->state = ENGINE_READY;
		e->used_at = clock_mono_ms();
	}
	engine_follow(e);
	engines_forget_left(e->engines);
	e->engines->options.on_change(e->engines->options.arg);
	free(t->loadings);
	free(t);
}

void engine_load(struct engine *e)
{
	struct load_task *t = xcalloc(1, sizeof(*t));

	t->base.run = load_run;
	t->base.done = load_done;
	t->engine = e;
	t->decoder = e->decoder;
	t->n = e->engines->n;
	t->loadings = xcalloc(t->n, sizeof(*t->loadings));
	for (size_t i = 0; i < t->n; i++) {
		t->loadings[i] = loading_of(e, i);
		e->units[i]->tasks++;
	}
	e->state = ENGINE_LOADING;
	executor_post(e->engines->loader, &t->base);
}

/* -- one of them ---------------------------------------------------------------------------------- */

struct unit_task {
	struct task base;
	struct engine_unit *unit; /* of the loop alone, which may empty it meanwhile */
	const struct engine *engine;
	bool decoder;
	struct loading loading;
	struct encode_model model; /* of the engine; then what the encoder has */
	struct error err;
};

static void unit_run(struct task *task)
{
	struct unit_task *t = (struct unit_task *)task;
	const char *precision = precision_of(t->engine, &t->model);

	if (t->loading.config.type != ENCODER_TYPE_REMOTE)
		open_local(t->engine, &t->loading, precision, t->decoder, &t->model, &t->err);
	else if (check_precision(precision, &t->err) == 0)
		open_remote(t->engine, &t->loading, &t->model, &t->err);
}

static void take_in(struct unit_task *t)
{
	struct engine_unit *u = t->unit;
	const struct engines_options *options = &u->engine->engines->options;

	if (t->loading.encoder && !encode_model_same(&u->engine->model, &t->model))
		error_set(&t->err, ERR_CONFIG, "the model at %s is another one than before",
			  u->engine->vae);
	else if (t->loading.encoder)
		engine_unit_open(u, TAKE(t->loading.encoder), &t->err);
	u->entry->lack = t->err.code != ERR_NONE ? t->err : t->loading.lack;
	if (t->err.code != ERR_NONE) {
		if (!u->out)
			engine_unit_tell(u, &t->err);
		return;
	}
	if (u->out && options->on_back)
		options->on_back(options->arg, u->entry->name);
	u->out = false;
	u->left_out = 0;
}

/* A model that was unloaded meanwhile has no use for it. */
static void unit_done(struct task *task)
{
	struct unit_task *t = (struct unit_task *)task;
	struct engine_unit *u = t->unit;
	struct engines *engines = u->engine->engines;

	u->tasks--;
	if (u->opening) {
		u->opening = false;
		u->version = t->loading.version;
		u->endpoints = t->loading.endpoints;
		take_in(t);
		engine_follow(u->engine);
		engines->options.on_change(engines->options.arg);
	}
	encoder_close(t->loading.encoder);
	engines_forget_left(engines);
	free(t);
}

void engine_load_unit(struct engine_unit *u)
{
	struct engine *e = u->engine;
	struct unit_task *t = xcalloc(1, sizeof(*t));
	size_t index = 0;

	while (e->units[index] != u)
		index++;
	t->base.run = unit_run;
	t->base.done = unit_done;
	t->unit = u;
	t->engine = e;
	t->decoder = e->decoder;
	t->loading = loading_of(e, index);
	t->model = e->model;
	u->opening = true;
	u->tasks++;
	executor_post(e->engines->loader, &t->base);
}
