/*
 * A YAML file as a tree of texts, lists and mappings, each with its place. What YAML has beyond that is refused: anchors
 * and aliases, tags, several documents, two values under one key; and so is what could do harm: more than
 * YAML_TREE_BYTES, nesting beyond YAML_TREE_DEPTH, more than YAML_TREE_KEYS keys in a mapping, anything but UTF-8, NUL in a text.
 *
 *	struct yaml_node *tree = NULL;
 *	yaml_tree_parse("latentd.yaml", text, size, &tree, err)
 *	yaml_tree_free(tree);
 *
 * Numbers and booleans are texts here; whoever uses one knows what it should be.
 */
#ifndef LATENTD_CONFIG_YAML_TREE_H
#define LATENTD_CONFIG_YAML_TREE_H

#include "config/settings.h"

#define YAML_TREE_BYTES ((size_t)1 << 20)
#define YAML_TREE_DEPTH 16
#define YAML_TREE_KEYS	1000

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAPPING };

struct yaml_node {
	enum yaml_kind kind;
	struct config_place place;
	char *key;		       /* in a mapping; NULL elsewhere */
	struct config_place key_place; /* of the key */
	char *text;		       /* YAML_TEXT */
	bool quoted;		 /* it stood in quotes, or as a block: an empty one is meant */
	struct yaml_node *first; /* YAML_LIST and _MAPPING: what they hold, in order */
	struct yaml_node *next;	 /* in the list or mapping that this is in */
	size_t n;		 /* how many they hold */
};

/*
 * The file's one document, to be freed; an empty one is an empty mapping. ERR_CONFIG: "FILE:LINE:COLUMN: ...".
 */
int yaml_tree_parse(const char *file, const void *text, size_t size, struct yaml_node **tree,
		    struct error *err);
/* NULL is accepted. */
void yaml_tree_free(struct yaml_node *tree);

/* What a mapping holds under @key; NULL: nothing, or @node is none. */
struct yaml_node *yaml_node_get(const struct yaml_node *node, const char *key);
/* "a list", "a mapping", or the text in quotes. */
const char *yaml_node_describe(const struct yaml_node *node, char *out, size_t size);

#endif
