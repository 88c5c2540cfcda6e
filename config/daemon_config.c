#include "config/daemon_config.h"

#include "config/daemon_check.h"
#include "config/daemon_settings.h"
#include "config/settings_yaml.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"

#include <limits.h>
#include <string.h>

/* "cpu", "cpu-2", ...: what no encoder before is called. */
static char *encoder_name(const struct daemon_config *config, size_t place)
{
	const char *type = encoder_type_name(config->encoders[place].type);
	size_t before = 0;

	for (size_t i = 0; i < place; i++)
		before += config->encoders[i].type == config->encoders[place].type;
	return before == 0 ? xstrdup(type) : xasprintf("%s-%zu", type, before + 1);
}

static void name_encoders(struct daemon_config *config)
{
	for (size_t i = 0; i < config->n_encoders; i++) {
		struct encoder_config *e = &config->encoders[i];

		if (!e->name)
			e->name = config_memory_take(config->memory, encoder_name(config, i));
	}
}

/* @path is absolute. */
static int read_config(const char *path, const void *text, size_t size, bool look,
		       struct daemon_config **out, struct error *err)
{
	cleanup_free char *folder = xstrdup(path);
	struct daemon_config *config = xcalloc(1, sizeof(*config));
	struct settings_file file = {path, folder, NULL};
	struct yaml_node *tree = NULL;
	int r = yaml_tree_parse(path, text, size, &tree, err);

	*strrchr(folder, '/') = '\0';
	config->memory = file.memory = config_memory_new();
	config->file = config_memory_copy(config->memory, path);
	settings_defaults(daemon_settings.rows, daemon_settings.n, config);
	if (r == 0 && tree->kind != YAML_MAPPING)
		r = settings_refuse(&file, &tree->place, err, "%s: expected settings, one a line",
				    tree->kind == YAML_LIST ? "a list" : "a text");
	if (r == 0)
		r = settings_yaml_read(&file, tree, &daemon_settings, config, err);
	if (r == 0) {
		name_encoders(config);
		r = daemon_check(config, tree, look, err);
	}
	yaml_tree_free(tree);
	if (r < 0) {
		daemon_config_free(config);
		return -1;
	}
	*out = config;
	return 0;
}

static char *absolute(const char *path)
{
	cleanup_free char *here = *path == '/' ? NULL : getcwd(NULL, 0);

	return here ? xasprintf("%s/%s", here, path) : xstrdup(path);
}

int daemon_config_parse(const char *file, const void *text, size_t size,
			struct daemon_config **config, struct error *err)
{
	cleanup_free char *path = absolute(file);

	return read_config(path, text, size, false, config, err);
}

int daemon_config_load(const char *path, struct daemon_config **config, struct error *err)
{
	cleanup_free char *full = absolute(path);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error failed = ERROR_INIT;

	if (file_read_all(full, YAML_TREE_BYTES, &text, &failed) < 0)
		return error_set(err, failed.code == ERR_DATA ? ERR_CONFIG : failed.code, "%s",
				 failed.message);
	return read_config(full, text.data ? text.data : (const void *)"", text.size, true, config,
			   err);
}

void daemon_config_free(struct daemon_config *config)
{
	if (!config)
		return;
	config_memory_free(config->memory);
	free(config);
}
