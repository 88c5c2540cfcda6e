/*
 * Every format becomes a JSON object first, from which path and caption are taken; what remains is the metadata.
 */
#include "source/manifest_record.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/text.h"
#include "source/source_json.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

static const char *const usual_paths[] = {"path",     "file_name", "file_path", "image_path",
					  "img_path", "filename",  "file",	"image",
					  "url",      NULL};
static const char *const usual_captions[] = {"caption", "text", "prompt", "description", NULL};
static const char *const mask_columns[] = {"mask", "mask_path", "mask_file_name", NULL};

struct manifest_record {
	enum manifest_format format;
	struct manifest_columns columns;
	struct buffer cells; /* of a row, each with its NUL */
	size_t *at;	     /* where each begins */
	size_t n, capacity;
	char **header;
	size_t n_header;
	struct buffer text; /* a caption that was made, or the name of a member */
	json_t *object;	    /* of the last record */
	char *meta;
};

bool manifest_format_of(const char *path, enum manifest_format *out)
{
	static const struct {
		const char *ending;
		enum manifest_format format;
	} endings[] = {{".jsonl", MANIFEST_JSONL},
		       {".ndjson", MANIFEST_JSONL},
		       {".csv", MANIFEST_CSV},
		       {".tsv", MANIFEST_TSV},
		       {".json", MANIFEST_KOHYA}};
	size_t n = strlen(path);

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t m = strlen(endings[i].ending);

		if (n <= m || path[n - m - 1] == '/' ||
		    strcasecmp(path + n - m, endings[i].ending) != 0)
			continue;
		*out = endings[i].format;
		return true;
	}
	return false;
}

struct manifest_record *manifest_record_new(enum manifest_format format,
					    const struct manifest_columns *columns)
{
	struct manifest_record *m = xcalloc(1, sizeof(*m));

	m->format = format;
	m->columns = *columns;
	return m;
}

static void forget_header(struct manifest_record *m)
{
	for (size_t i = 0; i < m->n_header; i++)
		free(m->header[i]);
	free(m->header);
	m->header = NULL;
	m->n_header = 0;
}

void manifest_record_free(struct manifest_record *m)
{
	if (!m)
		return;
	forget_header(m);
	buffer_release(&m->cells);
	buffer_release(&m->text);
	free(m->at);
	json_decref(m->object);
	free(m->meta);
	free(m);
}

/* -- rows ----------------------------------------------------------------------------------------- */

static bool is_line_end(const char *bytes, size_t size, size_t i)
{
	return i == size || bytes[i] == '\n' || (bytes[i] == '\r' && i + 1 == size) ||
	       (bytes[i] == '\r' && bytes[i + 1] == '\n');
}

/* A field in quotes from @i on, behind the first one. Where it ends; SIZE_MAX: it does not. */
static size_t quoted_field(struct manifest_record *m, const char *bytes, size_t size, size_t i)
{
	for (;;) {
		const char *quote = i < size ? memchr(bytes + i, '"', size - i) : NULL;

		if (!quote)
			return SIZE_MAX;
		buffer_append(&m->cells, bytes + i, (size_t)(quote - bytes) - i);
		i = (size_t)(quote - bytes) + 1;
		if (i == size || bytes[i] != '"')
			return i;
		buffer_put_u8(&m->cells, '"');
		i++;
	}
}

static const char *split_row(struct manifest_record *m, const char *bytes, size_t size)
{
	char separator = m->format == MANIFEST_TSV ? '\t' : ',';
	size_t i = 0;

	buffer_reset(&m->cells);
	m->n = 0;
	for (;; i++) {
		size_t begin = i;

		ARRAY_GROW(m->at, m->n, m->capacity);
		m->at[m->n++] = m->cells.size;
		if (i < size && bytes[i] == '"') {
			i = quoted_field(m, bytes, size, i + 1);
			if (i == SIZE_MAX)
				return "a quote in it is not closed";
			if (!is_line_end(bytes, size, i) && bytes[i] != separator)
				return "there is text behind a closing quote";
		} else {
			while (!is_line_end(bytes, size, i) && bytes[i] != separator)
				i++;
			buffer_append(&m->cells, bytes + begin, i - begin);
		}
		buffer_put_u8(&m->cells, '\0');
		if (is_line_end(bytes, size, i))
			return NULL;
	}
}

/* Cell @i, up to a NUL in it. */
static const char *cell(const struct manifest_record *m, size_t i)
{
	return (const char *)m->cells.data + m->at[i];
}

static json_t *clean_string(struct manifest_record *m, const char *s)
{
	buffer_reset(&m->text);
	utf8_append_clean(&m->text, s, strlen(s));
	return json_stringn(m->text.size > 0 ? (const char *)m->text.data : "", m->text.size);
}

static const char *parse_row(struct manifest_record *m, const char *bytes, size_t size)
{
	const char *why = split_row(m, bytes, size);

	if (why)
		return why;
	if (m->n != m->n_header)
		return m->n < m->n_header ? "it has fewer fields than the first row"
					  : "it has more fields than the first row";
	m->object = json_object();
	for (size_t i = 0; i < m->n; i++) {
		if (*cell(m, i))
			json_object_set_new(m->object, m->header[i], clean_string(m, cell(m, i)));
	}
	return NULL;
}

static bool names_one(const struct manifest_record *m, const char *const *names)
{
	for (size_t i = 0; i < m->n_header; i++) {
		for (size_t k = 0; names[k]; k++) {
			if (strcmp(m->header[i], names[k]) == 0)
				return true;
		}
	}
	return false;
}

int manifest_record_header(struct manifest_record *m, const char *bytes, size_t size,
			   struct error *err)
{
	const char *const asked[] = {m->columns.path, NULL};
	const char *why = split_row(m, bytes, size);
	cleanup_buffer struct buffer all = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	if (why)
		return error_set(err, ERR_CONFIG, "the first row names no columns: %s", why);
	forget_header(m);
	m->header = xcalloc(m->n, sizeof(*m->header));
	for (m->n_header = 0; m->n_header < m->n; m->n_header++) {
		json_t *name = clean_string(m, cell(m, m->n_header));

		m->header[m->n_header] = xstrdup(json_string_value(name));
		json_decref(name);
		buffer_appendf(&all, "%s%s", m->n_header > 0 ? ", " : "", m->header[m->n_header]);
	}
	if (names_one(m, m->columns.path ? asked : usual_paths))
		return 0;
	return error_set(err, ERR_CONFIG, "no column %s: the first row names %s",
			 m->columns.path ? m->columns.path : "path, file_name, image or url",
			 text_quote((const char *)all.data, quoted));
}

/* -- objects -------------------------------------------------------------------------------------- */

static const char *parse_line(struct manifest_record *m, const char *bytes, size_t size)
{
	m->object = source_json(bytes, size, 0);
	return json_is_object(m->object) ? NULL : "it is no JSON object";
}

/* `"NAME": {...}`; the name becomes the column "path". */
static const char *parse_member(struct manifest_record *m, const char *bytes, size_t size)
{
	cleanup_buffer struct buffer braced = BUFFER_INIT;
	json_t *all, *value = NULL;
	const char *name = NULL;
	void *first;

	buffer_put_u8(&braced, '{');
	buffer_append(&braced, bytes, size);
	buffer_put_u8(&braced, '}');
	all = source_json(braced.data, braced.size, 0);
	first = json_object_iter(all);
	if (first) {
		name = json_object_iter_key(first);
		value = json_object_iter_value(first);
	}
	if (json_is_object(value) && json_object_size(all) == 1) {
		m->object = json_incref(value);
		json_object_set_new(value, "path", json_string(name));
	}
	json_decref(all);
	return m->object ? NULL : "it is no \"path\": {...}";
}

/* Takes the column that is asked for out of the object, else the first of @usual; NULL: there is none. */
static json_t *take(struct manifest_record *m, const char *asked, const char *const *usual)
{
	const char *const one[] = {asked, NULL};
	const char *const *names = asked ? one : usual;

	for (size_t i = 0; names[i]; i++) {
		json_t *value = json_incref(json_object_get(m->object, names[i]));

		if (!value)
			continue;
		json_object_del(m->object, names[i]);
		return value;
	}
	return NULL;
}

/* As sd-scripts' finetuning dataset: the caption, then the tags, which stay metadata as well. */
static void add_tags(struct manifest_record *m)
{
	const char *tags = json_string_value(json_object_get(m->object, "tags"));

	if (!tags || !*tags)
		return;
	if (m->text.size > 0)
		buffer_append_string(&m->text, ", ");
	buffer_append_string(&m->text, tags);
}

static const char *take_caption(struct manifest_record *m, struct manifest_item *item)
{
	json_t *caption = take(m, m->columns.caption, usual_captions);
	const char *text = json_string_value(caption);
	bool wrong = caption && !text && !json_is_null(caption);

	buffer_reset(&m->text);
	if (text)
		buffer_append_string(&m->text, text);
	json_decref(caption);
	if (m->format == MANIFEST_KOHYA)
		add_tags(m);
	if (text || m->text.size > 0)
		item->caption = m->text.size > 0 ? (const char *)m->text.data : "";
	return wrong ? "its caption is no text" : NULL;
}

static void look_for_mask(const struct manifest_record *m, struct manifest_item *item)
{
	for (size_t i = 0; mask_columns[i] && !item->mask; i++) {
		const char *mask = json_string_value(json_object_get(m->object, mask_columns[i]));

		item->mask = mask && *mask ? mask : NULL;
	}
}

static void take_meta(struct manifest_record *m, struct manifest_item *item)
{
	free(m->meta);
	m->meta = NULL;
	if (json_object_size(m->object) > 0)
		m->meta =
		    json_dumps(m->object, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
	item->meta = m->meta;
}

const char *manifest_record_parse(struct manifest_record *m, const char *bytes, size_t size,
				  bool paths_only, struct manifest_item *item)
{
	const char *path_column = m->format == MANIFEST_KOHYA ? "path" : m->columns.path;
	const char *why;
	json_t *path;

	json_decref(TAKE(m->object));
	*item = (struct manifest_item){.path = NULL};
	if (m->format == MANIFEST_JSONL)
		why = parse_line(m, bytes, size);
	else if (m->format == MANIFEST_KOHYA)
		why = parse_member(m, bytes, size);
	else
		why = parse_row(m, bytes, size);
	if (why)
		return why;
	path = take(m, path_column, usual_paths);
	if (!json_is_string(path) || json_string_length(path) == 0) {
		json_decref(path);
		return path ? "its path is no text" : "it has no path";
	}
	buffer_reset(&m->cells);
	buffer_append_string(&m->cells, json_string_value(path));
	json_decref(path);
	item->path = (const char *)m->cells.data;
	if (paths_only)
		return NULL;
	why = take_caption(m, item);
	look_for_mask(m, item);
	take_meta(m, item);
	return why;
}
