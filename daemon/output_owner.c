#include "daemon/output_parts.h"

#include "daemon/state_queue.h"

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void owner_release(struct owner *owner)
{
	free(owner->outputs);
	*owner = (struct owner){.pid = 0};
}

char *owner_folder(const char *root, const char *node)
{
	return xasprintf("%s/.latentd%s%s", root, node ? "/nodes/" : "", node ? node : "");
}

char *output_owner_folder(const char *root)
{
	cleanup_free char *nodes = xasprintf("%s/.latentd/nodes", root);
	char *found = NULL;
	DIR *dir = opendir(nodes);
	bool here = false;
	struct dirent *entry;

	while (dir && !here && (entry = readdir(dir))) {
		cleanup_owner struct owner owner = {.pid = 0};
		cleanup_free char *folder = owner_folder(root, entry->d_name);

		if (entry->d_name[0] == '.')
			continue;
		owner_read(folder, &owner);
		here = owner_is_here(&owner) && file_exists(owner.state);
		if (here || !found) {
			free(found);
			found = TAKE(folder);
		}
	}
	if (dir)
		closedir(dir);
	return found ? found : owner_folder(root, NULL);
}

static void copy_string(json_t *value, char *out, size_t size)
{
	const char *s = json_string_value(value);

	snprintf(out, size, "%s", s ? s : "");
}

static void read_outputs(json_t *list, struct owner *owner)
{
	size_t i;
	json_t *item;

	owner->outputs = xcalloc(json_array_size(list) + 1, sizeof(*owner->outputs));
	json_array_foreach(list, i, item)
	{
		struct owned_output *o = &owner->outputs[owner->n_outputs++];

		copy_string(json_object_get(item, "path"), o->path, sizeof(o->path));
		o->device = (uint64_t)json_integer_value(json_object_get(item, "device"));
	}
}

void owner_read(const char *folder, struct owner *owner)
{
	cleanup_free char *path = xasprintf("%s/owner.json", folder);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error err = ERROR_INIT;
	json_t *root;

	memset(owner, 0, sizeof(*owner));
	if (file_read_all(path, 1 << 20, &text, &err) < 0)
		return;
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	copy_string(json_object_get(root, "host"), owner->host, sizeof(owner->host));
	copy_string(json_object_get(root, "state"), owner->state, sizeof(owner->state));
	copy_string(json_object_get(root, "socket"), owner->socket, sizeof(owner->socket));
	owner->pid = (long)json_integer_value(json_object_get(root, "pid"));
	read_outputs(json_object_get(root, "outputs"), owner);
	json_decref(root);
}

const struct owned_output *owner_output(const struct owner *owner, const char *output)
{
	for (size_t i = 0; i < owner->n_outputs; i++) {
		if (strcmp(owner->outputs[i].path, output) == 0)
			return &owner->outputs[i];
	}
	return NULL;
}

uint64_t output_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_dev : 0;
}

static void read_owner_of_output(const char *path, const char *state, struct owner *owner)
{
	cleanup_free char *node = state_queue_node(state);
	cleanup_free char *folder = owner_folder(path, node);

	owner_read(folder, owner);
}

bool output_still_claims(const char *path, const char *state)
{
	cleanup_owner struct owner owner;

	read_owner_of_output(path, state, &owner);
	return strcmp(owner.state, state) == 0;
}

/* One that cannot be read may be on a disk that is not mounted. */
static bool output_has_left(const char *path, const char *state)
{
	cleanup_owner struct owner owner;

	read_owner_of_output(path, state, &owner);
	return owner.state[0] && strcmp(owner.state, state) != 0;
}

static void list_output(json_t *list, const char *path, uint64_t device)
{
	json_t *item = json_object();

	json_object_set_new(item, "path", json_string(path));
	json_object_set_new(item, "device", json_integer((json_int_t)device));
	json_array_append_new(list, item);
}

json_t *owner_outputs_json(const struct output *o)
{
	json_t *list = json_array();
	cleanup_owner struct owner known;

	owner_read(o->state, &known);
	for (size_t i = 0; i < known.n_outputs; i++) {
		const struct owned_output *other = &known.outputs[i];

		if ((!o->root || strcmp(other->path, o->root) != 0) &&
		    !output_has_left(other->path, o->state))
			list_output(list, other->path, other->device);
	}
	if (o->root)
		list_output(list, o->root, output_device(o->root));
	return list;
}

int owner_write(const char *folder, const struct output *o, json_t *outputs, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/owner.json", folder);
	char host[256] = "";
	json_t *root = json_object();
	char *text;
	int r;

	gethostname(host, sizeof(host) - 1);
	json_object_set_new(root, "host", json_string(host));
	json_object_set_new(root, "pid", json_integer(getpid()));
	json_object_set_new(root, "state", json_string(o->state));
	if (o->socket)
		json_object_set_new(root, "socket", json_string(o->socket));
	if (outputs)
		json_object_set_new(root, "outputs", outputs);
	json_object_set_new(root, "since_ms", json_integer(clock_wall_ms()));
	text = json_dumps(root, JSON_INDENT(1));
	json_decref(root);
	if (!text)
		return error_set(err, ERR_CONFIG,
				 "the names of output and state folder must be UTF-8");
	r = atomic_file_write(path, text, strlen(text), err);
	free(text);
	return r;
}

bool owner_is_here(const struct owner *owner)
{
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	return strcmp(host, owner->host) == 0;
}

bool owner_is_dead(const struct owner *owner)
{
	return owner->pid > 0 && owner_is_here(owner) && kill((pid_t)owner->pid, 0) < 0 &&
	       errno == ESRCH;
}

char *owner_line(const char *what, const struct owner *owner)
{
	if (owner->pid == 0)
		return xasprintf("%s is in use by another process", what);
	return xasprintf("%s is in use by process %ld on %s (state in %s)", what, owner->pid,
			 owner->host, owner->state);
}
