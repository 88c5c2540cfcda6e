#include "daemon/state_queue.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"
#include "queue/queue_open.h"

#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

/* How long a COMMIT whose answer was lost is asked about. */
#define PATIENCE_MS 30000

/* What queue.json says; all NULL: there is none. */
struct shared {
	char *postgres, *node, *instance;
};

#define SHARED_NONE ((struct shared){NULL, NULL, NULL})

static void shared_release(struct shared *s)
{
	free(s->postgres);
	free(s->node);
	free(s->instance);
	*s = SHARED_NONE;
}

#define cleanup_shared cleanup_with(shared_release)

static char *queue_json(const char *state)
{
	return xasprintf("%s/queue.json", state);
}

static char *queue_db(const char *state)
{
	return xasprintf("%s/queue.db", state);
}

static int shared_read(const char *state, struct shared *out, struct error *err)
{
	cleanup_free char *path = queue_json(state);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const char *postgres, *node, *instance;
	json_t *root;
	int r = 0;

	if (!file_exists(path))
		return 0;
	if (file_read_all(path, 1 << 16, &text, err) < 0)
		return -1;
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	postgres = json_string_value(json_object_get(root, "postgres"));
	node = json_string_value(json_object_get(root, "node"));
	instance = json_string_value(json_object_get(root, "instance"));
	if (postgres && node && instance)
		*out = (struct shared){xstrdup(postgres), xstrdup(node), xstrdup(instance)};
	else
		r = error_set(err, ERR_CONFIG,
			      "%s is damaged: it names no queue in PostgreSQL and no node", path);
	json_decref(root);
	return r;
}

/* 32 hex digits that nobody else has. */
static int new_instance(char out[33], struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	size_t n = 0;

	if (file_read_all("/proc/sys/kernel/random/uuid", 64, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < text.size && n < 32; i++) {
		if (text.data[i] != '-' && text.data[i] != '\n')
			out[n++] = (char)text.data[i];
	}
	out[n] = '\0';
	return 0;
}

static int shared_write(const char *state, const char *postgres, const char *node,
			const char *instance, struct error *err)
{
	cleanup_free char *path = queue_json(state);
	json_t *root = json_object();
	char *text;
	int r;

	json_object_set_new(root, "postgres", json_string(postgres));
	json_object_set_new(root, "node", json_string(node));
	json_object_set_new(root, "instance", json_string(instance));
	text = json_dumps(root, JSON_INDENT(1));
	json_decref(root);
	if (!text)
		return error_set(err, ERR_CONFIG, "queue.postgres must be UTF-8");
	r = atomic_file_write(path, text, strlen(text), err);
	free(text);
	return r;
}

bool state_queue_exists(const char *state)
{
	cleanup_free char *json = queue_json(state), *db = queue_db(state);

	return file_exists(json) || file_exists(db);
}

int state_queue_choose(const char *state, const char *postgres, const char *node, struct error *err)
{
	cleanup_shared struct shared known = SHARED_NONE;
	cleanup_free char *db = queue_db(state);
	char instance[33];

	if (shared_read(state, &known, err) < 0)
		return -1;
	if (!postgres && known.postgres)
		return error_set(err, ERR_CONFIG,
				 "%s is node %s of a queue in PostgreSQL: set queue.postgres, or "
				 "another state_dir",
				 state, known.node);
	if (!postgres)
		return 0;
	if (file_exists(db))
		return error_set(err, ERR_CONFIG,
				 "%s has a queue of its own: set another state_dir with "
				 "queue.postgres",
				 state);
	if (known.node && strcmp(known.node, node) != 0)
		return error_set(err, ERR_CONFIG,
				 "%s is node %s's: set queue.node back to that, or another "
				 "state_dir for node %s",
				 state, known.node, node);
	if (known.postgres && strcmp(known.postgres, postgres) == 0)
		return 0;
	if (known.instance)
		return shared_write(state, postgres, node, known.instance, err);
	if (new_instance(instance, err) < 0)
		return -1;
	return shared_write(state, postgres, node, instance, err);
}

#ifdef LATENTD_POSTGRES
int state_queue_open_at(const char *postgres, const char *node, bool readonly, struct queue **out,
			struct error *err)
{
	const struct queue_postgres_options options = {
	    .conninfo = postgres, .node = node, .patience_ms = PATIENCE_MS, .readonly = readonly};

	return queue_postgres_open(&options, out, err);
}

int state_queue_check(const char *postgres, struct error *err)
{
	return queue_postgres_check(postgres, err);
}
#else
int state_queue_check(const char *postgres, struct error *err)
{
	(void)postgres;
	return error_set(err, ERR_CONFIG,
			 "queue.postgres: this program was built without PostgreSQL (libpq)");
}

int state_queue_open_at(const char *postgres, const char *node, bool readonly, struct queue **out,
			struct error *err)
{
	(void)node;
	(void)readonly;
	(void)out;
	return state_queue_check(postgres, err);
}
#endif

int state_queue_open(const char *state, struct queue **out, struct error *err)
{
	cleanup_shared struct shared shared = SHARED_NONE;
	cleanup_free char *db = queue_db(state);

	if (shared_read(state, &shared, err) < 0)
		return -1;
	if (shared.postgres)
		return state_queue_open_at(shared.postgres, shared.node, false, out, err);
	return queue_sqlite_open(db, out, err);
}

int state_queue_open_readonly(const char *state, struct queue **out, struct error *err)
{
	cleanup_shared struct shared shared = SHARED_NONE;
	cleanup_free char *db = queue_db(state);

	if (shared_read(state, &shared, err) < 0)
		return -1;
	if (shared.postgres)
		return state_queue_open_at(shared.postgres, shared.node, true, out, err);
	return queue_sqlite_open_readonly(db, out, err);
}

int state_queue_must_be_own(const char *state, struct error *err)
{
	cleanup_shared struct shared shared = SHARED_NONE;

	if (shared_read(state, &shared, err) < 0)
		return -1;
	if (!shared.postgres)
		return 0;
	return error_set(err, ERR_CONFIG,
			 "%s is node %s of a queue in PostgreSQL: there only its daemon changes "
			 "anything, start it",
			 state, shared.node);
}

char *state_queue_node(const char *state)
{
	cleanup_shared struct shared shared = SHARED_NONE;
	struct error ignored = ERROR_INIT;

	if (shared_read(state, &shared, &ignored) < 0)
		return NULL;
	return TAKE(shared.node);
}

char *state_queue_instance(const char *state)
{
	cleanup_shared struct shared shared = SHARED_NONE;
	struct error ignored = ERROR_INIT;

	if (shared_read(state, &shared, &ignored) < 0)
		return NULL;
	return TAKE(shared.instance);
}

char *state_queue_place(const char *state)
{
	cleanup_buffer struct buffer boot = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	struct stat st = {.st_ino = 0};

	file_read_all("/proc/sys/kernel/random/boot_id", 64, &boot, &ignored);
	stat(state, &st);
	return xasprintf("%.36s:%llx:%llu", boot.data ? (const char *)boot.data : "-",
			 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
}
