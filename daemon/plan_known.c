#include "daemon/plan_known.h"

#include "daemon/commands.h"

#include "base/checked.h"

#include <jansson.h>
#include <string.h>

struct plan_known {
	struct opened_output output;
	int64_t dataset;
	char *name, *recipe_json, *difference;
	size_t datasets;
	struct plan_known_counts counts;
};

/* -- recipes -------------------------------------------------------------------------------------- */

/* Puts @path, of up to two parts, of @from into @to; takes it out of there where @from has none. */
static void put(json_t *to, json_t *from, const char *part, const char *member)
{
	json_t *value;

	if (member) {
		to = json_object_get(to, part);
		from = json_object_get(from, part);
		part = member;
	}
	value = json_object_get(from, part);
	if (value)
		json_object_set(to, part, value);
	else
		json_object_del(to, part);
}

/* Of the fake encoder nothing but its class counts. */
static void put_model(json_t *to, json_t *from, const struct encode_model *model)
{
	if (!model)
		return;
	if (model->fake)
		put(to, from, "vae", "class");
	else
		put(to, from, "vae", NULL);
}

/* The canonical text of the dataset's recipe with what was asked for in it. */
static char *asked_json(const char *stored, const struct plan_asked *asked)
{
	const struct resolutions *r = asked->resolutions;
	struct recipe recipe = {.buckets = *bucket_table_options(r->tables[0]),
				.policy.apply_exif = asked->apply_exif,
				.flip = asked->flip,
				.crops = asked->crops};
	json_t *to = json_loads(stored, 0, NULL), *from;
	char *text;

	if (asked->model) {
		recipe.fake = asked->model->fake;
		recipe.vae = asked->model->vae;
		recipe.weights = asked->model->weights;
	}
	for (size_t i = 1; i < r->n; i++)
		recipe.more[recipe.n_more++] = *bucket_table_options(r->tables[i]);
	recipe_finish(&recipe);
	from = json_loads(recipe.json, 0, NULL);
	put(to, from, "buckets", NULL);
	put(to, from, "more_buckets", NULL);
	put(to, from, "variants", NULL);
	put(to, from, "pixels", "exif");
	put_model(to, from, asked->model);
	text = json_dumps(to, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(to);
	json_decref(from);
	recipe_release(&recipe);
	return text;
}

static void compare(struct plan_known *k, const struct plan_asked *asked)
{
	cleanup_free char *json = asked_json(k->recipe_json, asked);
	cleanup_free char *difference = recipe_difference(k->recipe_json, json ? json : "{}");

	if (strcmp(difference, "nothing") != 0)
		k->difference = TAKE(difference);
	k->counts = (struct plan_known_counts){.dataset = k->name, .difference = k->difference};
}

/* -- what is there -------------------------------------------------------------------------------- */

static int on_dataset(void *arg, const struct queue_dataset *dataset)
{
	struct plan_known *k = arg;

	if (k->datasets++ > 0)
		return 0;
	k->dataset = dataset->id;
	k->name = xstrdup(dataset->name);
	k->recipe_json = xstrdup(dataset->recipe_json);
	return 0;
}

int plan_known_open(const char *out, const char *name, const struct plan_asked *asked,
		    struct plan_known **known, struct error *err)
{
	struct plan_known *k = xcalloc(1, sizeof(*k));
	int r;

	k->output = (struct opened_output)OPENED_OUTPUT_INIT;
	r = opened_output_open(out, &k->output, err);
	if (r == 0)
		r = each_dataset(k->output.queue, &k->output.output, name, on_dataset, k, err);
	if (r == 0 && k->datasets > 1)
		r = error_set(err, ERR_CONFIG, "%s has %zu datasets: --name says which", out,
			      k->datasets);
	if (r != 0) {
		plan_known_close(k);
		return r;
	}
	compare(k, asked);
	*known = k;
	return 0;
}

void plan_known_close(struct plan_known *k)
{
	if (!k)
		return;
	opened_output_close(&k->output);
	free(k->name);
	free(k->recipe_json);
	free(k->difference);
	free(k);
}

int plan_known_look(struct plan_known *k, const struct hash128 *content, struct error *err)
{
	struct content_found found;

	if (k->difference) {
		k->counts.to_encode++;
		return 0;
	}
	if (queue_find_content(k->output.queue, k->dataset, content, &found, err) < 0)
		return -1;
	if (found.where == CONTENT_NONE)
		k->counts.to_encode++;
	else
		k->counts.encoded++;
	content_found_release(&found);
	return 0;
}

const struct plan_known_counts *plan_known_counts(const struct plan_known *k)
{
	return &k->counts;
}
