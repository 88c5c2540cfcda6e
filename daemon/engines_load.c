#include "daemon/engines_parts.h"

#include "daemon/encode_cuda.h"

#include "base/checked.h"
#include "base/clock.h"
#include "config/encoder_scope.h"

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
		return encode_cuda_open(options, &config->cuda, t->decoder, model, &t->encoders[i],
					err, err);
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
		const struct engine_entry *entry = &e->engines->entries[i];
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
		const struct engine_entry *entry = &e->engines->entries[i];
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

static struct recipe_options options_of(const struct engine *e)
{
	return (struct recipe_options){
	    .vae = e->vae, .vae_options = {e->vae_config, e->vae_model}, .precision = e->precision};
}

static void load_run(struct task *task)
{
	struct load_task *t = (struct load_task *)task;
	struct engine *e = t->engine;
	const struct recipe_options options = options_of(e);

	if (load_local(t, &options) < 0 || load_remote(t, &options) < 0)
		return;
	for (size_t i = 0; i < e->engines->n && t->opened == 0 && t->err.code == ERR_NONE; i++)
		t->err = t->lacks[i];
	if (t->opened == 0 && t->err.code == ERR_NONE)
		error_set(&t->err, ERR_CONFIG, "no encoder of the configuration can compute %s",
			  e->vae);
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
			engine_unit_open(&e->units[i], t->encoders[i], &t->err);
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

void engine_load(struct engine *e)
{
	struct load_task *t = xcalloc(1, sizeof(*t));

	t->base.run = load_run;
	t->base.done = load_done;
	t->engine = e;
	t->decoder = e->decoder;
	t->encoders = xcalloc(e->engines->n, sizeof(struct encoder *));
	t->lacks = xcalloc(e->engines->n, sizeof(struct error));
	e->state = ENGINE_LOADING;
	executor_post(e->engines->loader, &t->base);
}

/* -- one GPU once more ---------------------------------------------------------------------------- */

struct again_task {
	struct task base;
	struct engine_unit *unit; /* of the loop alone, which may empty it meanwhile */
	const struct engine *engine;
	const struct cuda_limits *limits;
	bool decoder;
	struct encode_model model;
	struct encoder *encoder; /* NULL: see err */
	struct error left_out, err;
};

static void again_run(struct task *task)
{
	struct again_task *t = (struct again_task *)task;
	const struct recipe_options options = options_of(t->engine);

	encode_cuda_open(&options, t->limits, t->decoder, &t->model, &t->encoder, &t->left_out,
			 &t->err);
}

static void take_back(struct again_task *t)
{
	struct engine_unit *u = t->unit;
	const struct engines_options *options = &u->engine->engines->options;

	if (t->encoder && !encode_model_same(&u->engine->model, &t->model))
		error_set(&t->err, ERR_CONFIG, "the model at %s is another one than before",
			  u->engine->vae);
	else if (t->encoder && engine_unit_open(u, t->encoder, &t->err) == 0)
		t->encoder = NULL;
	u->entry->lack = t->err.code != ERR_NONE ? t->err : t->left_out;
	if (t->err.code != ERR_NONE)
		return;
	u->out = false;
	u->left_out = 0;
	if (options->on_back)
		options->on_back(options->arg, u->entry->name);
}

/* A model that was unloaded meanwhile has no use for it. */
static void again_done(struct task *task)
{
	struct again_task *t = (struct again_task *)task;
	struct engines *engines = t->unit->engine->engines;

	if (t->unit->opening) {
		t->unit->opening = false;
		take_back(t);
		engines->options.on_change(engines->options.arg);
	}
	if (t->encoder != t->unit->encoder)
		encoder_close(t->encoder);
	free(t);
}

void engine_load_again(struct engine_unit *u)
{
	struct again_task *t = xcalloc(1, sizeof(*t));

	t->base.run = again_run;
	t->base.done = again_done;
	t->unit = u;
	t->engine = u->engine;
	t->limits = &u->entry->config.cuda;
	t->decoder = u->engine->decoder;
	u->opening = true;
	executor_post(u->engine->engines->loader, &t->base);
}
