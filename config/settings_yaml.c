#include "config/settings_yaml.h"

#include "config/setting_value.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct reading {
	const struct settings_file *file;
	const struct yaml_node *mapping;
	const struct settings_group *group;
};

int settings_refuse(const struct settings_file *file, const struct config_place *place,
		    struct error *err, const char *fmt, ...)
{
	char what[480];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return error_set(err, ERR_CONFIG, "%s:%zu:%zu: %s", file->name, place->line, place->column,
			 what);
}

/* -- names that are none ------------------------------------------------------------------------- */

/* How many letters have to be inserted, removed, replaced or swapped; names are short. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][SETTING_KEY_SIZE + 1];
	size_t n = strlen(b);

	for (size_t k = 0; k <= n; k++)
		rows[0][k] = k;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t *now = rows[i % 3], *one = rows[(i + 2) % 3], *two = rows[(i + 1) % 3];

		now[0] = i;
		for (size_t k = 1; k <= n; k++) {
			size_t best = one[k - 1] + (a[i - 1] != b[k - 1]);

			if (one[k] + 1 < best)
				best = one[k] + 1;
			if (now[k - 1] + 1 < best)
				best = now[k - 1] + 1;
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
			    two[k - 2] + 1 < best)
				best = two[k - 2] + 1;
			now[k] = best;
		}
	}
	return rows[strlen(a) % 3][n];
}

struct nearest {
	char name[SETTING_KEY_SIZE];
	size_t distance;
};

static void find_nearest(const struct settings_group *group, const char *key, struct nearest *best)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct setting *s = &group->rows[i];
		char name[SETTING_KEY_SIZE];
		size_t distance;

		if (!s->name) {
			find_nearest(s->group, key, best);
			continue;
		}
		distance = edit_distance(key, setting_key(s->name, name));
		if (distance < best->distance) {
			best->distance = distance;
			memcpy(best->name, name, sizeof(name));
		}
	}
}

static bool group_has(const struct settings_group *group, const char *key)
{
	struct nearest exact = {"", 1};

	find_nearest(group, key, &exact);
	return exact.distance == 0;
}

/* The mapping below @group that has such a setting, or NULL. */
static const char *find_home(const struct settings_group *group, const char *key)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct setting *s = &group->rows[i];

		if (s->group && s->name && group_has(s->group, key))
			return s->name;
	}
	return NULL;
}

static void list_keys(const struct settings_group *group, struct buffer *out)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct setting *s = &group->rows[i];
		char key[SETTING_KEY_SIZE];

		if (s->name)
			buffer_appendf(out, "%s%s", out->size > 0 ? ", " : "",
				       setting_key(s->name, key));
		else
			list_keys(s->group, out);
	}
}

static int refuse_unknown(const struct reading *r, const struct yaml_node *node, struct error *err)
{
	cleanup_buffer struct buffer known = BUFFER_INIT;
	const char *home = find_home(r->group, node->key);
	char quoted[TEXT_QUOTE_SIZE], key[SETTING_KEY_SIZE];
	struct nearest best = {"", 3};
	size_t length = strlen(node->key);

	text_quote(node->key, quoted);
	if (home)
		return settings_refuse(r->file, &node->key_place, err,
				       "unknown setting %s: it belongs below %s", quoted,
				       setting_key(home, key));
	if (length < SETTING_KEY_SIZE)
		find_nearest(r->group, node->key, &best);
	if (*best.name && best.distance < length)
		return settings_refuse(r->file, &node->key_place, err,
				       "unknown setting %s: did you mean %s?", quoted, best.name);
	list_keys(r->group, &known);
	return settings_refuse(r->file, &node->key_place, err,
			       "unknown setting %s: expected one of %s", quoted,
			       (const char *)known.data);
}

/* -- values -------------------------------------------------------------------------------------- */

/* Absolute, and without slashes at the end; of a credential as it stands there where this process has none. */
static char *full_path(const struct settings_file *file, const char *path)
{
	const char *folder = file->folder, *credentials = getenv("CREDENTIALS_DIRECTORY");
	bool credential = strncmp(path, SETTING_CREDENTIAL, strlen(SETTING_CREDENTIAL)) == 0;
	char *full;
	size_t n;

	if (credential && !credentials)
		return xstrdup(path);
	if (credential) {
		folder = credentials;
		path += strlen(SETTING_CREDENTIAL);
	}
	full = *path == '/' ? xstrdup(path) : xasprintf("%s/%s", folder, path);
	n = strlen(full);

	while (n > 1 && full[n - 1] == '/')
		full[--n] = '\0';
	return full;
}

static int refuse_value(const struct reading *r, const struct setting *s,
			const struct yaml_node *node, struct error *err)
{
	cleanup_free char *expected = setting_expected(s);
	bool public = node->kind != YAML_TEXT || setting_is_public(node->text);
	char found[TEXT_QUOTE_SIZE], key[SETTING_KEY_SIZE];

	return settings_refuse(
	    r->file, &node->place, err, "%s: %s: expected %s", setting_key(s->name, key),
	    public ? yaml_node_describe(node, found, sizeof(found)) : "a URL with a user",
	    expected);
}

static int read_value(const struct reading *r, const struct setting *s,
		      const struct yaml_node *node, void *options, struct error *err)
{
	struct error wrong = ERROR_INIT;
	char key[SETTING_KEY_SIZE];
	char *text = NULL;

	if (node->kind != YAML_TEXT || (!*node->text && !node->quoted))
		return refuse_value(r, s, node, err);
	if (s->type == SETTING_PATH && node->text[0] == '~')
		return settings_refuse(r->file, &node->place, err,
				       "%s: a path that begins with ~: expected it written out",
				       setting_key(s->name, key));
	if (s->prefix)
		text = xasprintf("%s%s", s->prefix, node->text);
	else if (s->type == SETTING_PATH && *node->text && !(s->is_word && s->is_word(node->text)))
		text = full_path(r->file, node->text);
	else
		text = xstrdup(node->text);
	if (setting_store(s, config_memory_take(r->file->memory, text), options, &wrong) < 0)
		return refuse_value(r, s, node, err);
	return 0;
}

/* A mapping in place of the text of @s: exactly one of its settings gives that text. */
static int read_mapping(const struct reading *r, const struct setting *s,
			const struct yaml_node *node, void *options, struct error *err)
{
	cleanup_buffer struct buffer names = BUFFER_INIT;
	char key[SETTING_KEY_SIZE];
	size_t given = 0;

	for (size_t i = 0; i < s->group->n; i++) {
		const struct setting *row = &s->group->rows[i];

		if (row->offset != s->offset)
			continue;
		given += yaml_node_get(node, setting_key(row->name, key)) != NULL;
		buffer_appendf(&names, "%s%s", names.size > 0 ? " or " : "", key);
	}
	if (given != 1)
		return settings_refuse(r->file, &node->place, err, "%s: expected %s%s",
				       setting_key(s->name, key), (const char *)names.data,
				       given > 1 ? ", not both" : " in it");
	return settings_yaml_read(r->file, node, s->group, options, err);
}

static int read_item(const struct reading *r, const struct setting *list,
		     const struct yaml_node *node, char *item, struct error *err)
{
	const struct settings_group *group = list->group;

	if (node->kind != YAML_MAPPING && !(node->kind == YAML_TEXT && group->plain))
		return refuse_value(r, list, node, err);
	settings_defaults(group->rows, group->n, item);
	memcpy(item + group->place, &node->place, sizeof(node->place));
	for (size_t i = 0; node->kind == YAML_TEXT && i < group->n; i++) {
		if (strcmp(group->rows[i].name, group->key) == 0)
			return read_value(r, &group->rows[i], node, item, err);
	}
	return settings_yaml_read(r->file, node, group, item, err);
}

/* One mapping is a list of one. */
static int read_list(const struct reading *r, const struct setting *s, const struct yaml_node *node,
		     void *options, struct error *err)
{
	const struct yaml_node *first = node->kind == YAML_LIST ? node->first : node;
	size_t n = node->kind == YAML_LIST ? node->n : 1, i = 0;
	char *items = config_memory_items(r->file->memory, n, s->group->size);

	for (const struct yaml_node *at = first; i < n; at = at->next, i++) {
		if (read_item(r, s, at, items + i * s->group->size, err) < 0)
			return -1;
	}
	memcpy((char *)options + s->offset, &items, sizeof(items));
	memcpy((char *)options + s->count, &n, sizeof(n));
	return 0;
}

/* A text alone is a list of one. */
static int read_texts(const struct reading *r, const struct setting *s,
		      const struct yaml_node *node, void *options, struct error *err)
{
	const struct yaml_node *first = node->kind == YAML_LIST ? node->first : node;
	size_t n = node->kind == YAML_LIST ? node->n : 1;
	char key[SETTING_KEY_SIZE];

	if (n > SETTING_TEXTS_MAX)
		return settings_refuse(r->file, &node->place, err, "%s: %zu: expected %d at most",
				       setting_key(s->name, key), n, SETTING_TEXTS_MAX);
	for (const struct yaml_node *at = first; n > 0; at = at->next, n--) {
		if (read_value(r, s, at, options, err) < 0)
			return -1;
	}
	return 0;
}

static int read_setting(const struct reading *r, const struct setting *s,
			const struct yaml_node *node, void *options, struct error *err)
{
	const struct yaml_node *type;
	char key[SETTING_KEY_SIZE];

	if (s->of) {
		type = yaml_node_get(r->mapping, "type");
		if (!type || type->kind != YAML_TEXT || strcmp(type->text, s->of) != 0)
			return settings_refuse(r->file, &node->key_place, err,
					       "%s: only type %s has it", setting_key(s->name, key),
					       s->of);
	}
	if (s->type == SETTING_LIST)
		return read_list(r, s, node, options, err);
	if (s->type == SETTING_TEXTS)
		return read_texts(r, s, node, options, err);
	if (s->type != SETTING_GROUP && s->group && node->kind == YAML_MAPPING)
		return read_mapping(r, s, node, options, err);
	if (s->type != SETTING_GROUP)
		return read_value(r, s, node, options, err);
	if (node->kind != YAML_MAPPING)
		return refuse_value(r, s, node, err);
	return settings_yaml_read(r->file, node, s->group, (char *)options + s->offset, err);
}

/* -- a mapping ----------------------------------------------------------------------------------- */

/* The row of that key; *options moves to the struct that its offset is into. */
static const struct setting *find_row(const struct settings_group *group, const char *key,
				      void **options)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct setting *s = &group->rows[i];
		void *inner = (char *)*options + s->offset;
		char name[SETTING_KEY_SIZE];

		if (s->name && strcmp(setting_key(s->name, name), key) == 0)
			return s;
		if (!s->name && (s = find_row(s->group, key, &inner))) {
			*options = inner;
			return s;
		}
	}
	return NULL;
}

static int check_required(const struct reading *r, const struct settings_group *group,
			  struct error *err)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct setting *s = &group->rows[i];
		char key[SETTING_KEY_SIZE];

		if (!s->name && check_required(r, s->group, err) < 0)
			return -1;
		if (s->name && s->required && !yaml_node_get(r->mapping, setting_key(s->name, key)))
			return settings_refuse(r->file, &r->mapping->place, err,
					       "%s is missing: %s", key, s->help);
	}
	return 0;
}

int settings_yaml_read(const struct settings_file *file, const struct yaml_node *mapping,
		       const struct settings_group *group, void *options, struct error *err)
{
	const struct reading r = {file, mapping, group};

	for (const struct yaml_node *node = mapping->first; node; node = node->next) {
		void *inner = options;
		const struct setting *s = find_row(group, node->key, &inner);

		if (!s)
			return refuse_unknown(&r, node, err);
		if (read_setting(&r, s, node, inner, err) < 0)
			return -1;
	}
	return check_required(&r, group, err);
}
