/*
 * Names that clash are found by hashes of all paths, sorted with the samples' numbers: a path's first sample keeps it. Order
 * and hashes are the same each time, so a run that goes on leaves out the same ones.
 */
#include "daemon/export.h"
#include "daemon/export_pack.h"
#include "daemon/export_target.h"
#include "daemon/variants.h"

#include "base/checked.h"
#include "base/hash.h"

#include <limits.h>
#include <string.h>

static const struct export_format *const formats[] = {
    &export_kohya, &export_musubi,	&export_ai_toolkit,
    &export_npz,   &export_safetensors, &export_wds,
};

const struct export_format *export_format_at(size_t i)
{
	return i < ARRAY_SIZE(formats) ? formats[i] : NULL;
}

const struct export_format *export_format_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	}
	return NULL;
}

/* -- one sample ----------------------------------------------------------------------------------- */

struct path_hash {
	uint64_t hash;
	size_t sample;
};

struct pass {
	const struct export_options *options;
	struct export_source *source;
	struct export_plan *plan;
	struct export_target *target; /* NULL: the first pass */
	size_t n, n_left_out;
	struct path_hash *hashes;
	size_t n_hashes, capacity;
	struct buffer list;
	bool list_begun;
	struct export_pack pack;
};

/* What becomes of a sample: a file of its own, or a record in a tar. */
struct product {
	struct buffer file;
	struct record record;
};

static void product_release(struct product *p)
{
	buffer_release(&p->file);
	record_release(&p->record);
}

#define cleanup_product cleanup_with(product_release)
#define PRODUCT_INIT                                                                               \
	{                                                                                          \
		BUFFER_INIT, RECORD_INIT                                                           \
	}

/* What the job keeps of a stored latent: that itself, or *@out. */
static const struct ndarray *make_array(const struct export_job *job, const struct ndarray *stored,
					struct ndarray *out, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	const struct ndarray *made = stored;
	bool normalised = job->arch ? job->arch->normalised : job->normalised;

	if (job->arch || normalised) {
		if (export_latent(job->space, made, normalised, &latent, err) < 0)
			return NULL;
		made = &latent;
	}
	if (made->dtype != job->dtype)
		return export_convert(made, job->dtype, out, err) < 0 ? NULL : out;
	if (made == stored)
		return stored;
	*out = latent;
	latent = (struct ndarray)NDARRAY_INIT;
	return out;
}

static int make_product(const struct export_job *job, const struct export_sample *sample,
			struct product *out, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT, other = NDARRAY_INIT;
	const struct ndarray *made = make_array(job, sample->stored, &latent, err);
	const struct ndarray *mirrored = NULL;

	if (made && sample->mirrored)
		mirrored = make_array(job, sample->mirrored, &other, err);
	if (!made || (sample->mirrored && !mirrored))
		return error_wrap(err, "%s", sample->key);
	if (!job->arch && made != sample->stored)
		export_record_describe(job, made, sample->record);
	return job->format->pack
		   ? job->format->pack(job, sample, made, &out->record, err)
		   : job->format->encode(job, sample, made, mirrored, &out->file, err);
}

/* Whether the file system has no such names. */
static bool too_long(const char *into, const char *path)
{
	size_t part = 0;

	for (const char *p = path; *p; p++) {
		part = *p == '/' ? 0 : part + 1;
		if (part > NAME_MAX)
			return true;
	}
	return strlen(into) + 1 + strlen(path) >= PATH_MAX;
}

static void leave_out(struct export_plan *plan, size_t number)
{
	ARRAY_GROW(plan->left_out, plan->n_left_out, plan->left_out_capacity);
	plan->left_out[plan->n_left_out++] = number;
}

static void leave_out_too_long(struct pass *p, const char *path)
{
	struct export_plan *plan = p->plan;

	leave_out(plan, p->n++);
	if (plan->too_long++ == 0)
		plan->too_long_example = xstrdup(path);
}

static void leave_out_variant(struct pass *p)
{
	leave_out(p->plan, p->n++);
	p->plan->variants++;
}

static void leave_out_unfit(struct pass *p, const struct error *why)
{
	struct export_plan *plan = p->plan;

	leave_out(plan, p->n++);
	if (plan->unfit++ == 0)
		plan->unfit_example = xstrdup(why->message);
}

static int plan_sample(void *arg, const struct export_sample *sample, struct error *err)
{
	struct pass *p = arg;
	struct export_plan *plan = p->plan;
	cleanup_product struct product product = PRODUCT_INIT;
	cleanup_free char *path = NULL;
	struct error why = ERROR_INIT;

	if (p->n == 0 &&
	    export_job_begin(p->options, export_source_space(p->source), &plan->job, err) < 0)
		return -1;
	if (sample->variant != VARIANT_PLAIN && plan->job.format->variants != EXPORT_VARIANTS_OWN) {
		leave_out_variant(p);
		return 0;
	}
	path = plan->job.format->path(&plan->job, sample);
	if (too_long(p->options->into, path)) {
		leave_out_too_long(p, path);
		return 0;
	}
	if (make_product(&plan->job, sample, &product, &why) < 0) {
		if (why.code != ERR_DATA) {
			*err = why;
			return -1;
		}
		leave_out_unfit(p, &why);
		return 0;
	}
	ARRAY_GROW(p->hashes, p->n_hashes, p->capacity);
	p->hashes[p->n_hashes++] = (struct path_hash){hash64_of(path, strlen(path), 0), p->n++};
	plan->bytes += product.file.size + record_bytes(&product.record);
	plan->turned += sample->orientation >= 5;
	plan->attached += sample->attached;
	plan->masks += sample->mask && !plan->job.format->masks;
	if (!plan->example)
		plan->example = TAKE(path);
	return 0;
}

/* Whether the sample whose turn it is was left out; its number counts up. */
static bool left_out(struct pass *p)
{
	const struct export_plan *plan = p->plan;
	bool out = p->n_left_out < plan->n_left_out && plan->left_out[p->n_left_out] == p->n;

	p->n++;
	p->n_left_out += out;
	return out;
}

static void add_to_list(struct pass *p, const struct export_sample *sample)
{
	const struct export_format *format = p->options->format;

	if (!format->list)
		return;
	buffer_append_string(&p->list, p->list_begun ? format->between : format->head);
	format->list_entry(&p->plan->job, sample, &p->list);
	p->list_begun = true;
}

static int put_file(struct pass *p, const struct export_sample *sample, const struct buffer *file,
		    struct error *err)
{
	const struct export_job *job = &p->plan->job;
	cleanup_free char *path = job->format->path(job, sample);
	int r = export_target_put(p->target, path, file->data, file->size, err);

	if (r < 0)
		return -1;
	p->plan->kept += r == EXPORT_TARGET_KEPT;
	p->plan->written += r != EXPORT_TARGET_KEPT;
	return 0;
}

static int write_sample(void *arg, const struct export_sample *sample, struct error *err)
{
	struct pass *p = arg;
	const struct export_job *job = &p->plan->job;
	cleanup_product struct product product = PRODUCT_INIT;

	if (left_out(p))
		return 0;
	if (make_product(job, sample, &product, err) < 0)
		return -1;
	if (job->format->pack ? export_pack_add(&p->pack, &product.record, err) < 0
			      : put_file(p, sample, &product.file, err) < 0)
		return -1;
	add_to_list(p, sample);
	if (p->options->progress) {
		progress_done(p->options->progress);
		progress_tick(p->options->progress);
	}
	return 0;
}

/* -- names that clash ----------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b)
{
	const struct path_hash *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->sample < y->sample ? -1 : x->sample > y->sample;
}

static int by_number(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

static void find_clashes(struct pass *p)
{
	struct export_plan *plan = p->plan;

	if (p->n_hashes > 0)
		qsort(p->hashes, p->n_hashes, sizeof(*p->hashes), by_hash);
	for (size_t i = 1; i < p->n_hashes; i++) {
		if (p->hashes[i].hash != p->hashes[i - 1].hash)
			continue;
		leave_out(plan, p->hashes[i].sample);
		plan->clashes++;
	}
	plan->samples = p->n_hashes - plan->clashes;
	if (plan->n_left_out > 0)
		qsort(plan->left_out, plan->n_left_out, sizeof(*plan->left_out), by_number);
}

/* -- the whole ------------------------------------------------------------------------------------ */

/* What makes this export another than one into the same folder before it. */
static char *about_text(const struct export_source *source, const struct export_plan *plan,
			size_t resolution)
{
	const struct export_job *job = &plan->job;
	char more[40] = "";

	if (resolution > 0)
		snprintf(more, sizeof(more), ", \"resolution\": %zu", resolution);

	return xasprintf("{\"format\": \"%s\", \"dataset\": \"%s\", \"recipe_id\": \"%s\", "
			 "\"arch\": \"%s\", \"dtype\": \"%s\", \"normalised\": %s, "
			 "\"columns\": %u%s}\n",
			 job->format->name, export_source_name(source), job->space->recipe_id,
			 job->arch ? job->arch->name : "", dtype_name(job->dtype),
			 job->normalised ? "true" : "false", job->columns, more);
}

static int refuse_nothing(const struct export_plan *plan, struct error *err)
{
	if (plan->unfit_example)
		return error_set(err, ERR_CONFIG, "no sample can be exported: %s",
				 plan->unfit_example);
	return error_set(err, ERR_CONFIG, "no sample can be exported: their names are too long");
}

int export_plan(const struct export_options *options, struct export_source *source,
		struct export_plan *plan, struct error *err)
{
	struct pass p = {.options = options, .source = source, .plan = plan};
	int r;

	export_source_resolution(source, options->resolution);
	if (options->format->variants == EXPORT_VARIANTS_MIRRORED)
		export_source_pair(source);
	r = export_source_each(source, plan_sample, &p, err);
	if (r == 0 && p.n == 0)
		r = export_source_refuse_empty(source, err);
	if (r == 0) {
		cleanup_free char *about = about_text(source, plan, options->resolution);

		find_clashes(&p);
		r = plan->samples == 0
			? refuse_nothing(plan, err)
			: export_target_check(options->into, options->format->name,
					      options->format->list, about, options->beside, err);
	}
	free(p.hashes);
	return r;
}

static int put_list(struct pass *p, struct error *err)
{
	const struct export_format *format = p->options->format;

	if (!format->list)
		return 0;
	buffer_append_string(&p->list, format->tail);
	return export_target_list(p->target, format->list, p->list.data, p->list.size, err);
}

int export_run(const struct export_options *options, struct export_source *source,
	       struct export_plan *plan, struct error *err)
{
	cleanup_free char *about = about_text(source, plan, options->resolution);
	struct pass p = {.options = options, .source = source, .plan = plan};
	int r = export_target_open(options->into, options->format->name, options->format->list,
				   about, options->beside, &p.target, err);

	if (r != 0)
		return r;
	export_pack_begin(&p.pack, p.target);
	r = export_source_each(source, write_sample, &p, err);
	if (r == 0)
		r = export_pack_end(&p.pack, err);
	plan->written += p.pack.written;
	plan->kept += p.pack.kept;
	if (r == 0)
		r = put_list(&p, err);
	if (r == 0)
		r = export_target_end(p.target, err);
	export_pack_release(&p.pack);
	export_target_close(p.target);
	buffer_release(&p.list);
	return r;
}

void export_plan_release(struct export_plan *plan)
{
	free(plan->example);
	free(plan->left_out);
	free(plan->too_long_example);
	free(plan->unfit_example);
	*plan = (struct export_plan){.samples = 0};
}
