/*
 * libyaml's events, one after another, into nodes. Recursion follows the nesting, which is bounded.
 */
#include "config/yaml_tree.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdarg.h>
#include <string.h>
#include <yaml.h>

struct reader {
	const char *file;
	yaml_parser_t parser;
	yaml_event_t event; /* the one under way; its memory is the reader's */
};

static void node_free(struct yaml_node *node)
{
	struct yaml_node *next;

	for (struct yaml_node *inner = node->first; inner; inner = next) {
		next = inner->next;
		node_free(inner);
	}
	free(node->key);
	free(node->text);
	free(node);
}

void yaml_tree_free(struct yaml_node *tree)
{
	if (tree)
		node_free(tree);
}

static struct config_place place_of(const yaml_mark_t *mark)
{
	return (struct config_place){mark->line + 1, mark->column + 1};
}

/* -- what is refused ----------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static int
refuse(const struct reader *r, const yaml_mark_t *mark, struct error *err, const char *fmt, ...)
{
	struct config_place at = place_of(mark);
	char what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return error_set(err, ERR_CONFIG, "%s:%zu:%zu: %s", r->file, at.line, at.column, what);
}

static int refuse_syntax(const struct reader *r, struct error *err)
{
	const yaml_parser_t *p = &r->parser;

	if (p->error == YAML_MEMORY_ERROR)
		memory_is_out();
	return refuse(r, &p->problem_mark, err, "this is no YAML: %s%s%s",
		      p->problem ? p->problem : "what stands here cannot be read",
		      p->context ? ", " : "", p->context ? p->context : "");
}

static int next_event(struct reader *r, struct error *err)
{
	yaml_event_delete(&r->event);
	return yaml_parser_parse(&r->parser, &r->event) ? 0 : refuse_syntax(r, err);
}

static int refuse_property(const struct reader *r, const yaml_char_t *anchor,
			   const yaml_char_t *tag, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (anchor)
		return refuse(r, &r->event.start_mark, err,
			      "an anchor (&%s): expected every value written out",
			      (const char *)anchor);
	return refuse(r, &r->event.start_mark, err, "a tag (%s): expected plain values",
		      text_quote((const char *)tag, quoted));
}

/* -- nodes --------------------------------------------------------------------------------------- */

static struct yaml_node *node_new(const struct reader *r, enum yaml_kind kind)
{
	struct yaml_node *node = xcalloc(1, sizeof(*node));

	node->kind = kind;
	node->place = place_of(&r->event.start_mark);
	return node;
}

static int read_node(struct reader *r, size_t depth, struct yaml_node **out, struct error *err);

static int read_text(struct reader *r, char **text, struct error *err)
{
	const char *value = (const char *)r->event.data.scalar.value;

	if (r->event.data.scalar.anchor || r->event.data.scalar.tag)
		return refuse_property(r, r->event.data.scalar.anchor, r->event.data.scalar.tag,
				       err);
	if (strlen(value) != r->event.data.scalar.length)
		return refuse(r, &r->event.start_mark, err, "a text with a NUL in it");
	*text = xstrdup(value);
	return 0;
}

/* The key of the entry that follows; the event is the key's. */
static int read_key(struct reader *r, const struct yaml_node *mapping, char **key,
		    struct error *err)
{
	const struct yaml_node *before;
	char quoted[TEXT_QUOTE_SIZE];

	if (r->event.type == YAML_ALIAS_EVENT)
		return refuse(r, &r->event.start_mark, err,
			      "an alias (*%s): expected every value written out",
			      (const char *)r->event.data.alias.anchor);
	if (r->event.type != YAML_SCALAR_EVENT)
		return refuse(r, &r->event.start_mark, err,
			      "a list or a mapping as a key: expected the name of a setting");
	if (read_text(r, key, err) < 0)
		return -1;
	before = yaml_node_get(mapping, *key);
	if (before)
		return refuse(r, &r->event.start_mark, err,
			      "%s stands here for the second time, the first is in line %zu",
			      text_quote(*key, quoted), before->key_place.line);
	return 0;
}

/* One value of a list, or a key and its value; the event is its first. */
static int read_inner(struct reader *r, size_t depth, const struct yaml_node *parent,
		      struct yaml_node **inner, struct error *err)
{
	struct config_place at = place_of(&r->event.start_mark);
	cleanup_free char *key = NULL;

	if (parent->kind == YAML_MAPPING &&
	    (read_key(r, parent, &key, err) < 0 || next_event(r, err) < 0))
		return -1;
	if (read_node(r, depth + 1, inner, err) < 0)
		return -1;
	(*inner)->key = TAKE(key);
	(*inner)->key_place = at;
	return 0;
}

/* A list's or mapping's insides, up to its end. */
static int read_all(struct reader *r, size_t depth, struct yaml_node *node, struct error *err)
{
	yaml_event_type_t end =
	    node->kind == YAML_LIST ? YAML_SEQUENCE_END_EVENT : YAML_MAPPING_END_EVENT;
	struct yaml_node **last = &node->first;

	if (depth > YAML_TREE_DEPTH)
		return refuse(r, &r->event.start_mark, err, "nested deeper than %d levels",
			      YAML_TREE_DEPTH);
	for (;;) {
		if (next_event(r, err) < 0)
			return -1;
		if (r->event.type == end)
			return 0;
		if (node->kind == YAML_MAPPING && node->n == YAML_TREE_KEYS)
			return refuse(r, &r->event.start_mark, err,
				      "more than %d settings in one mapping", YAML_TREE_KEYS);
		if (read_inner(r, depth, node, last, err) < 0)
			return -1;
		last = &(*last)->next;
		node->n++;
	}
}

/* The value whose first event is there. */
static int read_node(struct reader *r, size_t depth, struct yaml_node **out, struct error *err)
{
	const yaml_event_t *e = &r->event;
	struct yaml_node *node = NULL;
	int failed = 0;

	switch (e->type) {
	case YAML_SCALAR_EVENT:
		node = node_new(r, YAML_TEXT);
		node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
		failed = read_text(r, &node->text, err);
		break;
	case YAML_SEQUENCE_START_EVENT:
		node = node_new(r, YAML_LIST);
		failed = e->data.sequence_start.anchor || e->data.sequence_start.tag
			     ? refuse_property(r, e->data.sequence_start.anchor,
					       e->data.sequence_start.tag, err)
			     : read_all(r, depth, node, err);
		break;
	case YAML_MAPPING_START_EVENT:
		node = node_new(r, YAML_MAPPING);
		failed = e->data.mapping_start.anchor || e->data.mapping_start.tag
			     ? refuse_property(r, e->data.mapping_start.anchor,
					       e->data.mapping_start.tag, err)
			     : read_all(r, depth, node, err);
		break;
	case YAML_ALIAS_EVENT:
		return refuse(r, &e->start_mark, err,
			      "an alias (*%s): expected every value written out",
			      (const char *)e->data.alias.anchor);
	default:
		return error_set(err, ERR_BUG, "%s: an event of kind %d", r->file, e->type);
	}
	if (failed < 0) {
		yaml_tree_free(node);
		return -1;
	}
	*out = node;
	return 0;
}

/* -- the document -------------------------------------------------------------------------------- */

/* The event is the one behind the stream's start. */
static int read_document(struct reader *r, struct yaml_node **out, struct error *err)
{
	if (r->event.type == YAML_STREAM_END_EVENT) {
		*out = node_new(r, YAML_MAPPING);
		return 0;
	}
	if (next_event(r, err) < 0 || read_node(r, 0, out, err) < 0)
		return -1;
	if (next_event(r, err) < 0 || next_event(r, err) < 0)
		return -1;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return refuse(r, &r->event.start_mark, err,
			      "a second document: expected one in a file");
	if ((*out)->kind == YAML_TEXT && !(*out)->quoted && !*(*out)->text) {
		free((*out)->text);
		(*out)->text = NULL;
		(*out)->kind = YAML_MAPPING;
	}
	return 0;
}

/* By hand, because libyaml would also take UTF-16, and says only where in bytes something is wrong. */
static int check_text(const char *file, const uint8_t *text, size_t size, struct error *err)
{
	size_t line = 1, column = 1;

	for (size_t i = 0, n; i < size; i += n, column++) {
		n = text[i] == 0 ? 0 : utf8_sequence(text + i, size - i);
		if (n == 0)
			return error_set(err, ERR_CONFIG,
					 "%s:%zu:%zu: a byte 0x%02x that is not UTF-8 text: "
					 "expected UTF-8",
					 file, line, column, text[i]);
		if (text[i] == '\n') {
			line++;
			column = 0;
		}
	}
	return 0;
}

int yaml_tree_parse(const char *file, const void *text, size_t size, struct yaml_node **tree,
		    struct error *err)
{
	struct reader r = {.file = file};
	struct yaml_node *read = NULL;
	int failed;

	if (size > YAML_TREE_BYTES)
		return error_set(err, ERR_CONFIG, "%s: %zu bytes: expected at most %zu", file, size,
				 YAML_TREE_BYTES);
	if (check_text(file, text, size, err) < 0)
		return -1;
	if (!yaml_parser_initialize(&r.parser))
		memory_is_out();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, text, size);
	failed =
	    next_event(&r, err) < 0 || next_event(&r, err) < 0 || read_document(&r, &read, err) < 0;
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	if (failed) {
		yaml_tree_free(read);
		return -1;
	}
	*tree = read;
	return 0;
}

/* -- looking ------------------------------------------------------------------------------------- */

struct yaml_node *yaml_node_get(const struct yaml_node *node, const char *key)
{
	struct yaml_node *inner = node && node->kind == YAML_MAPPING ? node->first : NULL;

	while (inner && strcmp(inner->key, key) != 0)
		inner = inner->next;
	return inner;
}

const char *yaml_node_describe(const struct yaml_node *node, char *out, size_t size)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (node->kind == YAML_TEXT)
		snprintf(out, size, "%s",
			 !*node->text && !node->quoted ? "nothing"
						       : text_quote(node->text, quoted));
	else
		snprintf(out, size, "%s", node->kind == YAML_LIST ? "a list" : "a mapping");
	return out;
}
