#include "config/daemon_check_parts.h"

#include "config/settings_yaml.h"

#include <stdarg.h>
#include <stdio.h>

static const struct yaml_node *nth(const struct yaml_node *node, size_t n)
{
	if (!node || node->kind != YAML_LIST)
		return node; /* one that stands for a list of one */
	node = node->first;
	while (node && n-- > 0)
		node = node->next;
	return node;
}

/* Of the last name on the way that the file has; @otherwise where it has none of them. */
static struct config_place place_below(const struct yaml_node *node, const char *const *names,
				       struct config_place otherwise)
{
	for (; *names; names++) {
		node = yaml_node_get(node, *names);
		if (!node)
			break;
		otherwise = node->kind == YAML_TEXT ? node->place : node->key_place;
	}
	return otherwise;
}

struct config_place check_in_dataset(const struct daemon_check *c, size_t i,
				     const char *const *names)
{
	return place_below(nth(yaml_node_get(c->tree, "datasets"), i), names,
			   c->config->datasets[i].place);
}

struct config_place check_in_source(const struct daemon_check *c, size_t dataset, size_t source)
{
	const struct yaml_node *item = nth(yaml_node_get(c->tree, "datasets"), dataset);

	return place_below(nth(yaml_node_get(item, "source"), source), CHECK_NAMES("path"),
			   c->config->datasets[dataset].sources[source].place);
}

struct config_place check_at_top(const struct daemon_check *c, const char *const *names)
{
	return place_below(c->tree, names, (struct config_place){1, 1});
}

struct config_place check_in_encoder(const struct daemon_check *c, size_t i,
				     const char *const *names)
{
	return place_below(nth(yaml_node_get(c->tree, "encoders"), i), names,
			   c->config->encoders[i].place);
}

int check_refuse(const struct daemon_check *c, struct config_place place, struct error *err,
		 const char *fmt, ...)
{
	const struct settings_file file = {.name = c->config->file};
	char what[480];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return settings_refuse(&file, &place, err, "%s", what);
}
