#include "daemon/ctl_source_parts.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"

#include "config/daemon_config.h"

#include "daemon/api_lists.h"
#include "daemon/commands.h"
#include "daemon/ctl_api.h"
#include "daemon/state_queue.h"
#include "daemon/status_json.h"
#include "daemon/status_text.h"
#include "daemon/text_lines.h"

#include <jansson.h>
#include <string.h>

/* -- finding -------------------------------------------------------------------------------------- */

static int find_out(struct ctl_source *s, struct error *err)
{
	struct output output = OUTPUT_INIT;
	cleanup_free char *folder = NULL;

	if (output_peek(s->options->out, &output, &s->busy, err) < 0)
		return -1;
	s->root = TAKE(output.root);
	s->state = TAKE(output.state);
	s->owner = TAKE(output.owner);
	output_close(&output);
	folder = output_owner_folder(s->root);
	/* Its owner may have ended, and something else listen there meanwhile. */
	s->socket = s->busy ? output_socket(folder) : NULL;
	return 0;
}

static int find_config(struct ctl_source *s, struct error *err)
{
	const char *file = s->options->config;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct daemon_config *config = NULL;

	/* Only what it says counts here, not whether everything that it names is there. */
	if (file_read_all(file, 16 << 20, &text, err) < 0 ||
	    daemon_config_parse(file, text.data ? text.data : (const uint8_t *)"", text.size,
				&config, err) < 0)
		return -1;
	s->state = xstrdup(config->state_dir);
	s->socket = xstrdup(config->api.socket);
	daemon_config_free(config);
	return 0;
}

static int find(struct ctl_source *s, struct error *err)
{
	const struct read_options *o = s->options;
	const char *environment = getenv("LATENTD_SOCKET");

	if (o->out && find_out(s, err) < 0)
		return -1;
	if (!o->out && o->state) {
		s->state = xstrdup(o->state);
		s->socket = output_socket(o->state);
	} else if (!o->out && o->config && find_config(s, err) < 0) {
		return -1;
	}
	if (o->socket) {
		free(s->socket);
		s->socket = xstrdup(o->socket);
	}
	if (!s->socket && !s->state)
		s->socket = xstrdup(environment && *environment ? environment : CTL_SOCKET_DEFAULT);
	return 0;
}

char *ctl_source_state(const struct read_options *options, struct error *err)
{
	struct read_options o = *options;
	struct ctl_source s = {.options = &o};
	char *state;

	if (!o.out && !o.state && !o.config)
		o.config = DAEMON_CONFIG_DEFAULT;
	if (find(&s, err) < 0)
		return NULL;
	state = TAKE(s.state);
	free(s.root);
	free(s.owner);
	free(s.socket);
	return state;
}

/* The options that say where it is, again. To be freed. */
static char *reach_of(const struct read_options *o)
{
	const struct {
		const char *name, *value;
	} words[] = {
	    {"out", o->out}, {"state", o->state}, {"config", o->config}, {"socket", o->socket}};
	cleanup_buffer struct buffer reach = BUFFER_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		cleanup_free char *value = words[i].value ? text_shell_word(words[i].value) : NULL;

		if (value)
			buffer_appendf(&reach, " --%s %s", words[i].name, value);
	}
	return xstrdup(reach.data ? (const char *)reach.data : "");
}

static bool has_database(const struct ctl_source *s)
{
	return s->state && state_queue_exists(s->state);
}

/* 0: it is there (or was, and says what is wrong); CTL_API_NOBODY. */
static int try_daemon(struct ctl_source *s, struct error *err)
{
	cleanup_free char *path = ctl_api_path(NULL, "status");
	json_t *status = NULL;
	int r = ctl_api_open(s->socket, &s->api, err);

	if (r == 0)
		r = ctl_api_get(s->api, path, &status, err);
	json_decref(status);
	if (r == CTL_API_NOBODY) {
		ctl_api_close(s->api);
		s->api = NULL;
	}
	return r;
}

static int no_daemon(const struct ctl_source *s, struct error *err)
{
	error_clear(err);
	if (s->socket)
		error_set(err, ERR_CONFIG,
			  "no daemon answers at %s: start one with `latentd --config FILE`, or say "
			  "with --socket, --config or --out which one is meant",
			  s->socket);
	else
		error_set(err, ERR_CONFIG,
			  "no daemon works with the state in %s: start one with `latentd --config "
			  "FILE`",
			  s->state);
	return CTL_NO_DAEMON;
}

static int open_source(const struct read_options *options, bool daemon_only,
		       struct ctl_source **out, struct error *err)
{
	struct ctl_source *s = xcalloc(1, sizeof(*s));
	int r;

	s->options = options;
	s->reach = reach_of(options);
	r = find(s, err);
	if (r == 0)
		r = s->socket ? try_daemon(s, err) : CTL_API_NOBODY;
	if (r == CTL_API_NOBODY) {
		bool instead = !daemon_only && !options->socket && s->state;

		/* A state without its database is told as such by whoever opens it. */
		r = instead && (has_database(s) || options->out) ? 0 : no_daemon(s, err);
		if (r == 0)
			error_clear(err);
	}
	if (r == 0)
		*out = s;
	else
		ctl_source_close(s);
	return r;
}

int ctl_source_open(const struct read_options *options, struct ctl_source **out, struct error *err)
{
	return open_source(options, false, out, err);
}

int ctl_source_open_daemon(const struct read_options *options, struct ctl_source **out,
			   struct error *err)
{
	return open_source(options, true, out, err);
}

void ctl_source_close(struct ctl_source *s)
{
	if (!s)
		return;
	ctl_api_close(s->api);
	free(s->socket);
	free(s->root);
	free(s->state);
	free(s->owner);
	free(s->reach);
	free(s);
}

bool ctl_source_is_daemon(const struct ctl_source *s)
{
	return s->api != NULL;
}

bool ctl_source_busy(const struct ctl_source *s)
{
	return s->busy && !s->api;
}

const char *ctl_source_reach(const struct ctl_source *s)
{
	return s->reach;
}

const char *ctl_source_owner(const struct ctl_source *s)
{
	if (ctl_source_busy(s))
		return s->owner;
	return s->root ? "no process works on this output now" : "no daemon works here now";
}

/* -- either --------------------------------------------------------------------------------------- */

/* Whether a dataset of that name, which says that it lies at @output, lies in --out. */
static bool lies_in_root(const struct ctl_source *s, const char *name, const char *output)
{
	size_t n = strlen(output), tail = strlen(name) + 1;
	cleanup_free char *folder = NULL, *real = NULL;

	if (n <= tail || output[n - tail] != '/' || strcmp(output + n - tail + 1, name) != 0)
		return false;
	folder = xstrdup(output);
	folder[n - tail] = '\0';
	/* The daemon says it as its configuration does, where links may be on the way. */
	real = realpath(folder, NULL);
	return strcmp(real ? real : folder, s->root) == 0;
}

/* Whether the options mean this dataset. */
static bool is_meant(const struct ctl_source *s, const json_t *dataset)
{
	const char *name = json_string_value(json_object_get(dataset, "name"));
	cleanup_buffer struct buffer output = BUFFER_INIT;

	if (!name || (s->options->name && strcmp(s->options->name, name) != 0))
		return false;
	if (!s->root)
		return true;
	return status_path(&output, dataset, "output") == 0 && output.data &&
	       lies_in_root(s, name, (const char *)output.data);
}

static int reduce(const struct ctl_source *s, json_t *status, struct error *err)
{
	json_t *meant = json_array(), *dataset;
	const char *name = s->options->name;
	size_t i;

	json_array_foreach(json_object_get(status, "datasets"), i, dataset)
	{
		if (is_meant(s, dataset))
			json_array_append(meant, dataset);
	}
	json_object_set_new(status, "datasets", meant);
	if (json_array_size(meant) > 0 || (!name && s->api && !s->root))
		return 0;
	return error_set(err, ERR_CONFIG, name ? "there is no dataset %s here" : "%s",
			 name ? name : "there is no dataset here yet");
}

int ctl_source_status(struct ctl_source *s, json_t **status, struct error *err)
{
	cleanup_free char *path = ctl_api_path(NULL, "status");
	json_t *root = NULL;
	int r = s->api ? ctl_api_get(s->api, path, &root, err)
		       : ctl_source_stored_status(s, &root, err);

	if (r != 0)
		return -1;
	if (reduce(s, root, err) < 0) {
		json_decref(root);
		return -1;
	}
	*status = root;
	return 0;
}

int ctl_source_page(struct ctl_source *s, const char *dataset, const char *what, json_t **page,
		    struct error *err)
{
	cleanup_free char *path = ctl_api_path(dataset, what);

	if (!s->api)
		return ctl_source_stored_list(s, dataset, what, page, err);
	return ctl_api_get(s->api, path, page, err) == 0 ? 0 : -1;
}

/* "jobs?state=skipped" with where the next page begins. */
static char *page_of(const char *what, const json_t *next)
{
	const char *sign = strchr(what, '?') ? "&" : "?";

	if (json_is_integer(next))
		return xasprintf("%s%slimit=1000&after=%lld", what, sign,
				 (long long)json_integer_value(next));
	if (json_is_string(next))
		return xasprintf("%s%slimit=1000&after=%s", what, sign, json_string_value(next));
	return xasprintf("%s%slimit=1000", what, sign);
}

int ctl_source_each(struct ctl_source *s, const char *dataset, const char *what, const char *list,
		    ctl_item_fn fn, void *arg, struct error *err)
{
	json_t *next = json_null(), *item;
	int r = 0;

	do {
		cleanup_free char *page_what = page_of(what, next);
		json_t *page = NULL;
		size_t i;

		json_decref(next);
		next = NULL;
		r = ctl_source_page(s, dataset, page_what, &page, err);
		json_array_foreach(json_object_get(page, list), i, item)
		{
			if (r == 0)
				r = fn(arg, item);
		}
		next = json_incref(json_object_get(page, "next"));
		json_decref(page);
	} while (r == 0 && next && !json_is_null(next));
	json_decref(next);
	return r;
}

int ctl_source_get(struct ctl_source *s, const char *what, json_t **out, struct error *err)
{
	cleanup_free char *path = ctl_api_path(NULL, what);

	return ctl_api_get(s->api, path, out, err) == 0 ? 0 : -1;
}

int ctl_source_post(struct ctl_source *s, const char *dataset, const char *command, json_t *body,
		    json_t **answer, struct error *err)
{
	cleanup_free char *path = ctl_api_path(dataset, command);

	return ctl_api_post(s->api, path, body, answer, err) == 0 ? 0 : -1;
}

int ctl_source_follow(struct ctl_source *s, bool (*on_event)(void *arg, const json_t *event),
		      void *arg, struct error *err)
{
	cleanup_free char *path = ctl_api_path(NULL, "events");

	return ctl_api_follow(s->api, path, on_event, arg, err) == 0 ? 0 : -1;
}
