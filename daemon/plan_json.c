#include "daemon/plan_json.h"

#include "daemon/json_text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Six digits: what sums of millionths are good for. */
static json_t *json_part(double x)
{
	return json_rounded(x, 6);
}

static json_t *file_json(size_t source, const char *path)
{
	json_t *file = json_object();

	json_object_set_new(file, "source", json_count(source));
	json_object_set_new(file, "path", json_path(path));
	return file;
}

static json_t *sources_json(const struct plan *p)
{
	json_t *sources = json_array();

	for (size_t i = 0; i < p->n_sources; i++)
		json_array_append_new(sources, json_path(p->sources[i]));
	return sources;
}

static void set_used(json_t *object, const char *name, size_t value)
{
	if (value != 0)
		json_object_set_new(object, name, json_count(value));
}

static json_t *rule_json(const struct bucket_options *b)
{
	json_t *rule = json_object();

	json_object_set_new(rule, "rule", json_string(bucket_rule_name(b->rule)));
	set_used(rule, "resolution", b->resolution);
	set_used(rule, "width", b->width);
	set_used(rule, "height", b->height);
	set_used(rule, "min_bucket", b->min_bucket);
	set_used(rule, "max_bucket", b->max_bucket);
	set_used(rule, "step", b->step);
	return rule;
}

static json_t *limits_json(const struct bucket_options *b)
{
	json_t *limits = json_object();

	set_used(limits, "min_side", b->min_side);
	if (b->max_upscale > 0)
		json_object_set_new(limits, "max_upscale", json_part(b->max_upscale));
	if (b->max_crop_loss > 0)
		json_object_set_new(limits, "max_crop_loss", json_part(b->max_crop_loss));
	return limits;
}

static json_t *reasons_json(const struct plan_reasons *r)
{
	json_t *reasons = json_object();

	for (size_t i = 0; i < r->n; i++)
		json_object_set_new(reasons, r->list[i].word, json_count(r->list[i].files));
	return reasons;
}

static json_t *bucket_json(const struct plan *p, const struct plan_bucket *b)
{
	json_t *bucket = json_object();

	if (p->resolutions.n > 1)
		json_object_set_new(bucket, "resolution",
				    json_count(plan_resolution(p, b->resolution)));
	json_object_set_new(bucket, "width", json_count(b->width));
	json_object_set_new(bucket, "height", json_count(b->height));
	json_object_set_new(bucket, "images", json_count(b->images));
	json_object_set_new(bucket, "share", json_part((double)b->images / (double)p->images));
	json_object_set_new(bucket, "crop_loss", json_part(b->crop_loss));
	json_object_set_new(bucket, "scale", json_part(b->upscale));
	json_object_set_new(bucket, "max_scale", json_part(b->max_upscale));
	json_object_set_new(bucket, "enlarged", json_count(b->enlarged));
	if (p->batch > 0) {
		json_object_set_new(bucket, "batches", json_count(b->batches));
		json_object_set_new(bucket, "left_over", json_count(b->dropped));
	}
	return bucket;
}

static json_t *buckets_json(const struct plan *p)
{
	json_t *buckets = json_array();

	for (size_t i = 0; i < p->n_buckets; i++)
		json_array_append_new(buckets, bucket_json(p, &p->buckets[i]));
	return buckets;
}

static json_t *batch_json(const struct plan *p)
{
	json_t *batch = json_object();

	json_object_set_new(batch, "size", json_count(p->batch));
	json_object_set_new(batch, "batches", json_count(p->batches));
	json_object_set_new(batch, "left_over", json_count(p->dropped));
	return batch;
}

static json_t *latents_json(const struct plan *p)
{
	json_t *latents = json_object();

	json_object_set_new(latents, "of_each_image", json_count((1 + p->more) * p->resolutions.n));
	json_object_set_new(latents, "channels", json_count(p->channels));
	json_object_set_new(latents, "downscale", json_count(p->downscale));
	json_object_set_new(latents, "assumed", json_boolean(!p->latent_known));
	json_object_set_new(latents, "mean_bytes", json_count(p->latent_bytes));
	json_object_set_new(latents, "moments_bytes", json_count(2 * p->latent_bytes));
	return latents;
}

static json_t *equal_json(const struct plan *p)
{
	const struct plan_duplicates *d = &p->duplicates;
	json_t *equal = json_object(), *names = json_array();

	for (size_t g = 0; g < d->n_groups; g++) {
		json_t *group = json_array();

		for (size_t i = 0; i < d->groups[g].n; i++) {
			const struct plan_duplicate *f = &d->files[d->groups[g].first + i];

			json_array_append_new(group,
					      file_json(f->source, plan_duplicates_path(d, f)));
		}
		json_array_append_new(names, group);
	}
	json_object_set_new(equal, "groups", json_count(d->n_groups));
	json_object_set_new(equal, "files", json_count(d->extra_files));
	json_object_set_new(equal, "bytes", json_count(d->extra_bytes));
	json_object_set_new(equal, "names", names);
	return equal;
}

static json_t *failures_json(const struct plan *p)
{
	json_t *failures = json_array();

	for (size_t i = 0; i < p->n_failures; i++) {
		const struct plan_failure *f = &p->failures[i];
		json_t *file = file_json(f->source, f->path);

		json_object_set_new(file, "reason", json_clean(f->reason));
		json_object_set_new(file, "message", json_clean(f->message));
		json_array_append_new(failures, file);
	}
	return failures;
}

static json_t *known_json(const struct plan_known_counts *k)
{
	json_t *known = json_object();

	json_object_set_new(known, "dataset", json_clean(k->dataset));
	json_object_set_new(known, "difference", json_clean(k->difference));
	json_object_set_new(known, "encoded", json_count(k->encoded));
	json_object_set_new(known, "to_encode", json_count(k->to_encode));
	return known;
}

char *plan_json(const struct plan *p)
{
	json_t *root = json_object();
	char *text;

	json_object_set_new(root, "v", json_integer(1));
	json_object_set_new(root, "sources", sources_json(p));
	json_object_set_new(root, "buckets_by",
			    rule_json(bucket_table_options(p->resolutions.tables[0])));
	json_object_set_new(root, "limits",
			    limits_json(bucket_table_options(p->resolutions.tables[0])));
	json_object_set_new(root, "files", json_count(p->files));
	json_object_set_new(root, "bytes", json_count(p->bytes));
	json_object_set_new(root, "images", json_count(p->images));
	json_object_set_new(root, "elsewhere", json_count(p->elsewhere));
	json_object_set_new(root, "enlarged", json_count(p->enlarged));
	json_object_set_new(root, "no_caption",
			    p->captions ? json_count(p->no_caption) : json_null());
	json_object_set_new(root, "crop_loss", json_part(p->crop_loss));
	json_object_set_new(root, "skipped", reasons_json(&p->skipped));
	json_object_set_new(root, "unreadable", reasons_json(&p->unreadable));
	json_object_set_new(root, "buckets", buckets_json(p));
	json_object_set_new(root, "batch", p->batch > 0 ? batch_json(p) : json_null());
	json_object_set_new(root, "latents", p->downscale > 0 ? latents_json(p) : json_null());
	json_object_set_new(root, "seconds", p->rate > 0 ? json_count(p->seconds) : json_null());
	json_object_set_new(root, "equal", p->hash ? equal_json(p) : json_null());
	json_object_set_new(root, "known", p->known ? known_json(p->known) : json_null());
	json_object_set_new(root, "failures", failures_json(p));
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9));
	json_decref(root);
	if (!text)
		abort();
	return text;
}
