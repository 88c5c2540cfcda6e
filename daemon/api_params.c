#include "daemon/api_params.h"

#include "daemon/attachments.h"

#include "base/checked.h"
#include "base/text.h"

#include "config/read_options.h"
#include "queue/queue.h"

#include <jansson.h>
#include <string.h>

/* @n bytes of a URI, decoded, to be freed; NULL where they are none: a broken escape, a NUL. */
static char *decode(const char *s, size_t n)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_free char *raw = xmalloc(n + 1);

	memcpy(raw, s, n);
	raw[n] = '\0';
	if (!percent_decode(&text, raw) || (text.size > 0 && memchr(text.data, 0, text.size)))
		return NULL;
	return xstrdup(text.data ? (const char *)text.data : "");
}

/* The word behind the slash at *@p, which then stands behind it; NULL where there is none. */
static char *next_word(const char **p)
{
	const char *word = *p + 1;
	size_t n = **p == '/' ? strcspn(word, "/?#") : 0;

	*p = word + n;
	return n > 0 ? decode(word, n) : NULL;
}

bool api_path_parse(const char *uri, struct api_path *out)
{
	const char *end = uri + strcspn(uri, "?#"), *p = uri;
	struct api_path path = {.n = 0};

	do {
		char *word = path.n < API_PATH_WORDS ? next_word(&p) : NULL;

		if (!word) {
			api_path_release(&path);
			return false;
		}
		path.words[path.n++] = word;
	} while (p < end);
	*out = path;
	return true;
}

void api_path_release(struct api_path *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->words[i]);
	p->n = 0;
}

/* -- parameters: by name, whether they came as text or as JSON ------------------------------------ */

static int set_state(struct api_params *p, const char *value, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	for (int i = 0; i < JOB_STATES; i++) {
		if (strcmp(value, job_state_name((enum job_state)i)) != 0)
			continue;
		p->state = i;
		return 0;
	}
	return error_set(err, ERR_CONFIG,
			 "state: %s is none; expected waiting, available, running, encoded, "
			 "completed, retryable, quarantined, skipped, cancelled or gone",
			 text_quote(value, quoted));
}

static int set_text(char **field, const char *value)
{
	free(*field);
	*field = xstrdup(value);
	return 0;
}

static int set_reason(struct api_params *p, const char *value, struct error *err)
{
	(void)err;
	return set_text(&p->reason, value);
}

static int set_key(struct api_params *p, const char *value, struct error *err)
{
	(void)err;
	return set_text(&p->key, value);
}

static int set_after(struct api_params *p, const char *value, struct error *err)
{
	(void)err;
	return set_text(&p->after, value);
}

static int set_dataset(struct api_params *p, const char *value, struct error *err)
{
	(void)err;
	return set_text(&p->dataset, value);
}

static int set_level(struct api_params *p, const char *value, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(value, log_levels[i]) != 0)
			continue;
		p->level = (enum log_level)i;
		p->has_level = true;
		return 0;
	}
	return error_set(err, ERR_CONFIG,
			 "level: %s is none; expected error, warning, info or debug",
			 text_quote(value, quoted));
}

static int set_size(const char *name, size_t *field, int64_t value, int64_t least, int64_t most,
		    struct error *err)
{
	if (value < least || value > most)
		return error_set(err, ERR_CONFIG, "%s: expected %lld to %lld", name,
				 (long long)least, (long long)most);
	*field = (size_t)value;
	return 0;
}

static int set_limit(struct api_params *p, int64_t value, struct error *err)
{
	return set_size("limit", &p->limit, value, 1, API_LIMIT_MAX, err);
}

static int set_grace_hours(struct api_params *p, int64_t value, struct error *err)
{
	return set_size("grace_hours", &p->grace_hours, value, 0, READ_GRACE_MAX, err);
}

static int set_shard_samples(struct api_params *p, int64_t value, struct error *err)
{
	return set_size("shard_samples", &p->shard_samples, value, 1, READ_SHARD_SAMPLES_MAX, err);
}

static int set_shard_size(struct api_params *p, int64_t value, struct error *err)
{
	return set_size("shard_size", &p->shard_bytes, value, READ_SHARD_SIZE_MIN,
			READ_SHARD_SIZE_MAX, err);
}

static int set_place(const char *name, int64_t *field, int64_t value, struct error *err)
{
	if (value < 0)
		return error_set(err, ERR_CONFIG, "%s: expected a number that a list has", name);
	*field = value;
	return 0;
}

static int set_shard(struct api_params *p, int64_t value, struct error *err)
{
	return set_place("shard", &p->shard, value, err);
}

static int set_offset(struct api_params *p, int64_t value, struct error *err)
{
	return set_place("offset", &p->offset, value, err);
}

static int set_priority(struct api_params *p, int64_t value, struct error *err)
{
	if (value < -1000 || value > 1000)
		return error_set(err, ERR_CONFIG, "priority: expected -1000 to 1000");
	p->has_priority = true;
	p->priority = (int)value;
	return 0;
}

static int set_dry_run(struct api_params *p, const json_t *value, struct error *err)
{
	if (!json_is_boolean(value))
		return error_set(err, ERR_CONFIG, "dry_run: expected true or false");
	p->dry_run = json_is_true(value);
	return 0;
}

static int set_array(struct api_params *p, const char *value, struct error *err)
{
	if (!attachment_name_valid(value))
		return error_set(
		    err, ERR_CONFIG,
		    "array: expected up to %d of a-z, 0-9, _ and -, and no member's name",
		    ATTACHMENT_NAME_MAX);
	return set_text(&p->array, value);
}

static int set_path(struct api_params *p, const char *value, struct error *err)
{
	if (*value != '/')
		return error_set(err, ERR_CONFIG, "path: expected an absolute one");
	return set_text(&p->path, value);
}

static int set_captions(struct api_params *p, const json_t *value, struct error *err)
{
	const char *key;
	json_t *caption;

	if (!json_is_object(value))
		return error_set(err, ERR_CONFIG, "captions: expected {KEY: TEXT or null, ...}");
	json_object_foreach((json_t *)value, key, caption)
	{
		char quoted[TEXT_QUOTE_SIZE];

		if (!*key || (!json_is_string(caption) && !json_is_null(caption)))
			return error_set(err, ERR_CONFIG,
					 "captions: of %s: expected a string or null",
					 text_quote(key, quoted));
	}
	p->captions = json_incref((json_t *)value);
	return 0;
}

/* Text and numbers come in a query too, JSON in a body alone. */
static const struct param {
	const char *name;
	int (*text)(struct api_params *p, const char *value, struct error *err);
	int (*number)(struct api_params *p, int64_t value, struct error *err);
	int (*json)(struct api_params *p, const json_t *value, struct error *err);
} params_known[] = {
    {"state", set_state, NULL, NULL},
    {"reason", set_reason, NULL, NULL},
    {"key", set_key, NULL, NULL},
    {"after", set_after, NULL, NULL},
    {"limit", NULL, set_limit, NULL},
    {"priority", NULL, set_priority, NULL},
    {"captions", NULL, NULL, set_captions},
    {"dry_run", NULL, NULL, set_dry_run},
    {"level", set_level, NULL, NULL},
    {"dataset", set_dataset, NULL, NULL},
    {"shard", NULL, set_shard, NULL},
    {"offset", NULL, set_offset, NULL},
    {"array", set_array, NULL, NULL},
    {"path", set_path, NULL, NULL},
    {"grace_hours", NULL, set_grace_hours, NULL},
    {"shard_samples", NULL, set_shard_samples, NULL},
    {"shard_size", NULL, set_shard_size, NULL},
};

static bool listed(const char *accepted, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = accepted; *p; p += strcspn(p, " "), p += *p == ' ') {
		if (strncmp(p, name, n) == 0 && (p[n] == ' ' || p[n] == '\0'))
			return true;
	}
	return false;
}

/* The parameter of that name; NULL with *err where it is not taken, or not again. */
static const struct param *param_find(const char *accepted, const char *name, unsigned *seen,
				      struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(params_known); i++) {
		if (strcmp(name, params_known[i].name) != 0 || !listed(accepted, name))
			continue;
		if (*seen & 1u << i) {
			error_set(err, ERR_CONFIG, "%s is there twice", name);
			return NULL;
		}
		*seen |= 1u << i;
		return &params_known[i];
	}
	error_set(err, ERR_CONFIG, "%s is not taken here; expected %s", text_quote(name, quoted),
		  *accepted ? accepted : "nothing");
	return NULL;
}

static bool parse_number(const char *text, int64_t *out)
{
	char *end = NULL;
	size_t digits = strspn(text + (*text == '-'), "0123456789");

	/* More digits than any limit has, and fewer than overflow. */
	if (digits == 0 || digits > 15 || text[(*text == '-') + digits] != '\0')
		return false;
	*out = strtoll(text, &end, 10);
	return true;
}

static int set_from_text(struct api_params *p, const struct param *param, const char *value,
			 struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	int64_t number;

	if (param->text)
		return param->text(p, value, err);
	if (param->json)
		return error_set(err, ERR_CONFIG, "%s belongs into the body", param->name);
	if (!parse_number(value, &number))
		return error_set(err, ERR_CONFIG, "%s: %s is no whole number", param->name,
				 text_quote(value, quoted));
	return param->number(p, number, err);
}

/* One "name=value" of @n bytes. */
static int take_pair(const char *pair, size_t n, const char *accepted, unsigned *seen,
		     struct api_params *params, struct error *err)
{
	const char *sign = memchr(pair, '=', n);
	size_t name_size = sign ? (size_t)(sign - pair) : n;
	cleanup_free char *name = decode(pair, name_size);
	cleanup_free char *value = sign ? decode(sign + 1, n - name_size - 1) : xstrdup("");
	const struct param *param;

	if (!name || !value)
		return error_set(err, ERR_CONFIG, "the query has a broken %%XX");
	param = param_find(accepted, name, seen, err);
	return param ? set_from_text(params, param, value, err) : -1;
}

int api_params_query(const char *uri, const char *accepted, struct api_params *params,
		     struct error *err)
{
	const char *p = strchr(uri, '?');
	unsigned seen = 0;

	if (!p)
		return 0;
	for (p++; *p && *p != '#'; p += *p == '&') {
		size_t n = strcspn(p, "&#");

		if (n > 0 && take_pair(p, n, accepted, &seen, params, err) < 0)
			return -1;
		p += n;
	}
	return 0;
}

static int set_from_json(struct api_params *p, const struct param *param, const json_t *value,
			 struct error *err)
{
	if (param->text) {
		if (!json_is_string(value))
			return error_set(err, ERR_CONFIG, "%s: expected a string", param->name);
		return param->text(p, json_string_value(value), err);
	}
	if (param->json)
		return param->json(p, value, err);
	if (!json_is_integer(value))
		return error_set(err, ERR_CONFIG, "%s: expected a whole number", param->name);
	return param->number(p, json_integer_value(value), err);
}

static int take_members(json_t *root, const char *accepted, struct api_params *params,
			struct error *err)
{
	unsigned seen = 0;
	const char *name;
	json_t *value;

	if (!json_is_object(root))
		return error_set(err, ERR_CONFIG, "the body is JSON, but no object");
	json_object_foreach(root, name, value)
	{
		const struct param *param = param_find(accepted, name, &seen, err);

		if (!param || set_from_json(params, param, value, err) < 0)
			return -1;
	}
	return 0;
}

int api_params_body(const void *body, size_t size, const char *accepted, struct api_params *params,
		    struct error *err)
{
	json_error_t why;
	json_t *root;
	int r;

	if (size == 0)
		return 0;
	/* NUL bytes in strings are refused, as jansson does unless it is told otherwise. */
	root = json_loadb(body, size, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return error_set(err, ERR_CONFIG, "the body is not JSON: line %d, column %d: %s",
				 why.line, why.column, why.text);
	r = take_members(root, accepted, params, err);
	json_decref(root);
	return r;
}

void api_params_release(struct api_params *p)
{
	free(p->reason);
	free(p->key);
	free(p->after);
	json_decref(p->captions);
	free(p->dataset);
	free(p->array);
	free(p->path);
	*p = (struct api_params)API_PARAMS_INIT;
}
