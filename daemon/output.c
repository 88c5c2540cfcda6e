#include "daemon/output.h"

#include "daemon/hashed_json.h"

#include "config/dataset_options.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DEAD_OWNER_MS = 5000 }; /* longest wait for the lock of a process that has died */

/* An output that a state folder is of. */
struct owned_output {
	char path[PATH_MAX];
	uint64_t device; /* of its folder, when it was last used */
};

/* What an owner.json says; empty strings where it says nothing. */
struct owner {
	char host[256];
	char state[PATH_MAX];
	char socket[PATH_MAX];
	long pid;
	struct owned_output *outputs; /* of a state folder */
	size_t n_outputs;
};

static void owner_release(struct owner *owner)
{
	free(owner->outputs);
	*owner = (struct owner){.pid = 0};
}

#define cleanup_owner cleanup_with(owner_release)

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

/* A missing or damaged file says nothing. */
static void owner_read(const char *folder, struct owner *owner)
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

static const struct owned_output *owner_find(const struct owner *owner, const char *output)
{
	for (size_t i = 0; i < owner->n_outputs; i++) {
		if (strcmp(owner->outputs[i].path, output) == 0)
			return &owner->outputs[i];
	}
	return NULL;
}

static uint64_t device_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_dev : 0;
}

/* Whether the output at @path says that its state is in @state. */
static bool still_claims(const char *path, const char *state)
{
	cleanup_free char *folder = xasprintf("%s/.latentd", path);
	cleanup_owner struct owner owner;

	owner_read(folder, &owner);
	return strcmp(owner.state, state) == 0;
}

static void list_output(json_t *list, const char *path, uint64_t device)
{
	json_t *item = json_object();

	json_object_set_new(item, "path", json_string(path));
	json_object_set_new(item, "device", json_integer((json_int_t)device));
	json_array_append_new(list, item);
}

/* This output, and those others whose state this still is. */
static json_t *outputs_of_state(const struct output *o)
{
	json_t *list = json_array();
	cleanup_owner struct owner known;

	owner_read(o->state, &known);
	for (size_t i = 0; i < known.n_outputs; i++) {
		const struct owned_output *other = &known.outputs[i];

		if (strcmp(other->path, o->root) != 0 && still_claims(other->path, o->state))
			list_output(list, other->path, other->device);
	}
	list_output(list, o->root, device_of(o->root));
	return list;
}

/* Writes FOLDER/owner.json. @outputs (taken): NULL for that of an output. */
static int owner_write(const char *folder, const struct output *o, json_t *outputs,
		       struct error *err)
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

static bool this_host(const struct owner *owner)
{
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	return strcmp(host, owner->host) == 0;
}

/* Where the state of @root goes when nobody says: its name and a hash of its path. To be freed. */
static char *default_state(const char *root, struct error *err)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	const char *base = strrchr(root, '/');
	uint64_t hash = hash64_of(root, strlen(root), 0);

	base = base && base[1] ? base + 1 : "root";
	if (xdg && xdg[0] == '/')
		return xasprintf("%s/latentd/%s-%08x", xdg, base, (unsigned)(hash >> 32));
	if (home && home[0] == '/')
		return xasprintf("%s/.local/state/latentd/%s-%08x", home, base,
				 (unsigned)(hash >> 32));
	error_set(err, ERR_CONFIG,
		  "no place for the state folder: set XDG_STATE_HOME or HOME, or give --state DIR");
	return NULL;
}

static char *absolute(const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	char *full = realpath(path, NULL);

	if (!full)
		error_sys(err, "%s", text_quote(path, quoted));
	return full;
}

/*
 * 0, OUTPUT_BUSY, or -1. An open-file-description lock: it ends with the process and what that has forked, and it
 * can be asked about (output_peek) without being taken for a moment.
 */
static int take_lock(const char *path, int *fd, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	cleanup_close int opened = file_open(path, O_RDWR | O_CREAT, 0666, err);

	if (opened < 0)
		return -1;
	if (fcntl(opened, F_OFD_SETLK, &whole) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			return error_sys(err, "lock %s", text_quote(path, quoted));
		*fd = TAKE_FD(opened);
		return OUTPUT_BUSY;
	}
	*fd = TAKE_FD(opened);
	return 0;
}

static bool is_dead(const struct owner *owner)
{
	return owner->pid > 0 && this_host(owner) && kill((pid_t)owner->pid, 0) < 0 &&
	       errno == ESRCH;
}

/*
 * The lock of @folder, and who has or had it. A process that is killed while it starts a worker leaves its lock to that
 * until the worker has become another program: a dead owner's lock is waited for.
 */
static int lock_folder(const char *folder, int *fd, struct owner *owner, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/lock", folder);
	int64_t end = clock_mono_ms() + DEAD_OWNER_MS;

	for (;;) {
		int r = take_lock(path, fd, err);

		if (r < 0)
			return r;
		owner_read(folder, owner);
		if (r == 0 || !is_dead(owner) || clock_mono_ms() >= end)
			return r;
		owner_release(owner);
		close(*fd);
		*fd = -1;
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
}

static char *owner_line(const char *what, const struct owner *owner)
{
	if (owner->pid == 0)
		return xasprintf("%s is in use by another process", what);
	return xasprintf("%s is in use by process %ld on %s (state in %s)", what, owner->pid,
			 owner->host, owner->state);
}

static int lock_root(struct output *o, struct owner *owner, struct error *err)
{
	cleanup_free char *folder = xasprintf("%s/.latentd", o->root);
	int r;

	if (dir_make(folder, err) < 0)
		return -1;
	r = lock_folder(folder, &o->lock_fd, owner, err);
	if (r == OUTPUT_BUSY)
		o->owner = owner_line(o->root, owner);
	return r;
}

/*
 * An output that the state folder belongs to, as far as it still claims it, if @o is not one of them: @o is a copy
 * then, while an output that was moved takes its state along. NULL: none. To be freed.
 */
static char *other_output(const struct output *o, const char *state)
{
	cleanup_owner struct owner of_state;

	owner_read(state, &of_state);
	if (owner_find(&of_state, o->root))
		return NULL;
	for (size_t i = 0; i < of_state.n_outputs; i++) {
		if (still_claims(of_state.outputs[i].path, state))
			return xstrdup(of_state.outputs[i].path);
	}
	return NULL;
}

static bool lies_in(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* The state folder that was asked for, absolute; refused where it cannot be this output's. */
static char *asked_state(const struct output *o, const char *asked, const char *known,
			 struct error *err)
{
	cleanup_free char *path = NULL, *other = NULL;

	if (dir_make(asked, err) < 0)
		return NULL;
	path = absolute(asked, err);
	if (!path)
		return NULL;
	if (lies_in(path, o->root))
		error_set(err, ERR_CONFIG,
			  "--state %s lies in the output %s: give a folder outside", path, o->root);
	else if (*known && strcmp(path, known) != 0)
		error_set(err, ERR_CONFIG,
			  "%s keeps its state in %s: use --state with that folder, or leave "
			  "--state out",
			  o->root, known);
	else if ((other = other_output(o, path)))
		error_set(err, ERR_CONFIG, "--state %s belongs to the output %s: give another",
			  path, other);
	return err->code == ERR_NONE ? TAKE(path) : NULL;
}

/* The default, or beside it, where an output that was here before and moved away has taken that along. */
static char *free_default_state(const struct output *o, struct error *err)
{
	char *base = default_state(o->root, err), *path = base ? xstrdup(base) : NULL;

	for (unsigned i = 2; path; i++) {
		cleanup_free char *other = other_output(o, path);

		if (!other)
			break;
		free(path);
		path = xasprintf("%s-%u", base, i);
	}
	free(base);
	return path;
}

/* Whether OUT has a state on this host that is its own. */
static bool state_is_known(const struct output *o, const struct owner *owner)
{
	cleanup_free char *other = other_output(o, owner->state);

	return owner->state[0] && this_host(owner) && file_exists(owner->state) && !other;
}

/* The state folder to use: asked for, or the one OUT already has here, or the default. */
static int choose_state(struct output *o, const char *asked, const struct owner *owner,
			struct error *err)
{
	bool known = state_is_known(o, owner);
	cleanup_free char *path = NULL;

	if (asked)
		path = asked_state(o, asked, known ? owner->state : "", err);
	else if (known)
		path = xstrdup(owner->state);
	else
		path = free_default_state(o, err);
	if (!path || dir_make(path, err) < 0)
		return -1;
	o->state = TAKE(path);
	return 0;
}

/* 0, OUTPUT_BUSY with *@line about the owner, or -1. */
static int lock_state(const char *state, int *fd, char **line, struct error *err)
{
	cleanup_owner struct owner owner = {.pid = 0};
	int r = lock_folder(state, fd, &owner, err);

	if (r == OUTPUT_BUSY)
		*line = owner_line(state, &owner);
	return r;
}

static void remember_device(struct output *o)
{
	cleanup_owner struct owner of_state;
	const struct owned_output *known;

	owner_read(o->state, &of_state);
	known = owner_find(&of_state, o->root);
	o->last_device = known ? known->device : 0;
}

/* With both locks held: half-written files of a run that died, and who works here now. */
static int take_over(const struct output *o, struct error *err)
{
	cleanup_free char *folder = xasprintf("%s/.latentd", o->root);

	if (atomic_file_sweep(folder, err) < 0)
		return -1;
	return owner_write(folder, o, NULL, err);
}

/* Makes OUT and locks it; *@owner is who had it before. */
static int open_root(const char *out, struct output *o, struct owner *owner, struct error *err)
{
	if (dir_make(out, err) < 0)
		return -1;
	o->root = absolute(out, err);
	return o->root ? lock_root(o, owner, err) : -1;
}

int output_open(const char *out, const char *state, struct output *output, struct error *err)
{
	struct output o = OUTPUT_INIT;
	cleanup_owner struct owner owner = {.pid = 0};
	int r = open_root(out, &o, &owner, err);

	if (r == 0)
		r = choose_state(&o, state, &owner, err);
	if (r == 0)
		r = lock_state(o.state, &o.state_lock_fd, &o.owner, err);
	if (r == 0)
		r = atomic_file_sweep(o.state, err);
	if (r == 0) {
		remember_device(&o);
		r = take_over(&o, err);
	}
	if (r < 0)
		output_close(&o);
	else
		*output = o;
	return r;
}

/* ERR_CONFIG where OUT cannot be used with the state folder o->state. */
static int check_attached(const struct output *o, const struct owner *owner, struct error *err)
{
	if (lies_in(o->state, o->root) || lies_in(o->root, o->state))
		return error_set(err, ERR_CONFIG,
				 "the state folder %s and the output %s lie one in the other",
				 o->state, o->root);
	if (strcmp(owner->state, o->state) != 0 && state_is_known(o, owner))
		return error_set(err, ERR_CONFIG,
				 "%s keeps its state in %s: use that as the state folder, or "
				 "remove it to have the shards read into this one",
				 o->root, owner->state);
	return 0;
}

int output_attach(const char *out, const struct state_folder *state, struct output *output,
		  struct error *err)
{
	struct output o = OUTPUT_INIT;
	cleanup_owner struct owner owner = {.pid = 0};
	int r = open_root(out, &o, &owner, err);

	o.state = xstrdup(state->path);
	o.socket = state->socket;
	if (r == 0)
		r = check_attached(&o, &owner, err);
	if (r == 0) {
		remember_device(&o);
		r = take_over(&o, err);
	}
	if (r < 0)
		output_close(&o);
	else
		*output = o;
	return r;
}

int state_folder_open(const char *path, struct state_folder *state, struct error *err)
{
	struct state_folder s = STATE_FOLDER_INIT;
	int r;

	if (dir_make(path, err) < 0)
		return -1;
	s.path = absolute(path, err);
	if (!s.path)
		return -1;
	r = lock_state(s.path, &s.lock_fd, &s.owner, err);
	if (r == 0)
		r = atomic_file_sweep(s.path, err);
	if (r < 0)
		state_folder_close(&s);
	else
		*state = s;
	return r;
}

void state_folder_close(struct state_folder *s)
{
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->path);
	free(s->owner);
	*s = (struct state_folder)STATE_FOLDER_INIT;
}

int output_claim(struct output *o, bool has_shards, struct error *err)
{
	if (has_shards && o->last_device != 0 && o->last_device != device_of(o->root))
		return error_set(
		    err, ERR_CONFIG,
		    "%s is on another disk than when it was encoded, and its shards "
		    "are not there: is it mounted? If they are gone for good, remove %s",
		    o->root, o->state);
	return owner_write(o->state, o, outputs_of_state(o), err);
}

void output_close(struct output *o)
{
	if (o->lock_fd >= 0)
		close(o->lock_fd);
	if (o->state_lock_fd >= 0)
		close(o->state_lock_fd);
	free(o->root);
	free(o->state);
	free(o->owner);
	*o = (struct output)OUTPUT_INIT;
}

int output_peek(const char *out, struct output *output, bool *running, struct error *err)
{
	cleanup_free char *root = absolute(out, err);
	cleanup_free char *folder = root ? xasprintf("%s/.latentd", root) : NULL;
	cleanup_free char *path = root ? xasprintf("%s/lock", folder) : NULL;
	struct flock held = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	cleanup_close int fd = -1;
	cleanup_owner struct owner owner = {.pid = 0};

	if (!root)
		return -1;
	if (!file_exists(path))
		return error_set(err, ERR_CONFIG, "%s is not an output of latentctl", root);
	fd = file_open(path, O_RDONLY, 0, err);
	if (fd < 0)
		return -1;
	owner_read(folder, &owner);
	if (!owner.state[0])
		return error_set(err, ERR_CONFIG, "%s/owner.json does not name its state folder",
				 folder);
	*running = fcntl(fd, F_OFD_GETLK, &held) == 0 && held.l_type != F_UNLCK && !is_dead(&owner);
	output->owner = owner_line(root, &owner);
	output->state = xstrdup(owner.state);
	output->root = TAKE(root);
	return 0;
}

char *output_socket(const char *folder)
{
	cleanup_owner struct owner owner;

	owner_read(folder, &owner);
	return owner.socket[0] ? xstrdup(owner.socket) : NULL;
}

bool output_has_dataset(const struct output *o, const char *name, const char *folder)
{
	cleanup_free char *here = xasprintf("%s/%s", o->root, name);
	cleanup_free char *there = xstrdup(folder);
	char *slash = strrchr(there, '/');

	if (strcmp(here, folder) == 0 || !slash)
		return true;
	*slash = '\0';
	return !still_claims(there, o->state);
}

/* -- the dataset's folder ------------------------------------------------------------------------- */

static int write_dataset(const char *path, const char *name, const struct recipe *recipe,
			 struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *root = json_object();
	bool written;

	json_object_set_new(root, "v", json_integer(1));
	json_object_set_new(root, "name", json_string(name));
	json_object_set_new(root, "format", json_string("wds"));
	json_object_set_new(root, "codec", json_string(recipe_codec_name(recipe->codec)));
	json_object_set_new(root, "recipe_id", json_string(recipe->id));
	json_object_set_new(root, "recipe", json_loads(recipe->json, 0, NULL));
	written = hashed_json_write(root, &text);
	json_decref(root);
	return written ? atomic_file_write(path, text.data, text.size, err)
		       : error_set(err, ERR_BUG, "%s cannot be written as JSON", path);
}

static int check_dataset(const char *path, const char *root, const char *name,
			 const struct recipe *recipe, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_free char *stored = NULL, *difference = NULL;
	enum output_codec codec = OUTPUT_CODEC_ZSTD;
	const char *id;
	json_t *json;
	bool same, known, intact;

	if (file_read_all(path, 1 << 20, &text, err) < 0)
		return -1;
	json = json_loadb((const char *)text.data, text.size, 0, NULL);
	id = json_string_value(json_object_get(json, "recipe_id"));
	same = id && strcmp(id, recipe->id) == 0;
	known = recipe_codec_parse(json_string_value(json_object_get(json, "codec")), &codec);
	stored = json_dumps(json_object_get(json, "recipe"),
			    JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
	intact = id && stored && same == (strcmp(stored, recipe->json) == 0);
	json_decref(json);
	if (!intact)
		return error_set(err, ERR_CONFIG,
				 "%s is damaged: its recipe is not that of its id; latentctl "
				 "reindex --out %s makes it again",
				 path, root);
	if (same && !known)
		return error_set(err, ERR_CONFIG, "%s names a codec that is not known here", path);
	if (same && codec != recipe->codec)
		return error_set(
		    err, ERR_CONFIG,
		    "%s/%s has codec %s: keep to that, or give another --name, because all "
		    "samples of a dataset have the same members",
		    root, name, recipe_codec_name(codec));
	if (same)
		return 0;
	difference = recipe_difference(stored, recipe->json);
	return error_set(
	    err, ERR_CONFIG,
	    "%s/%s has another recipe: give another --name, or leave --name out, because "
	    "two latent spaces never share a folder (%s)",
	    root, name, difference);
}

int output_check_dataset(const struct output *o, const char *name, const struct recipe *recipe,
			 bool *there, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s/.latentd/dataset.json", o->root, name);

	if (!dataset_name_valid(name))
		return error_set(err, ERR_CONFIG,
				 "--name %s: expected a folder name of at most 100 bytes, without "
				 "'/', not beginning with a dot",
				 name);
	*there = file_exists(path);
	return *there ? check_dataset(path, o->root, name, recipe, err) : 0;
}

int output_make_dataset(const struct output *o, const char *name, const struct recipe *recipe,
			struct error *err)
{
	cleanup_free char *below = xasprintf("%s/.latentd", name);
	cleanup_free char *folder = xasprintf("%s/%s", o->root, below);
	cleanup_free char *path = xasprintf("%s/dataset.json", folder);

	if (dir_make_below(o->root, below, err) < 0 || atomic_file_sweep(folder, err) < 0)
		return -1;
	return write_dataset(path, name, recipe, err);
}

char *output_default_name(const char *model, const struct recipe *recipe)
{
	const struct bucket_options *buckets = &recipe->buckets;
	cleanup_free char *size = buckets->rule == BUCKET_FIXED
				      ? xasprintf("%zux%zu", buckets->width, buckets->height)
				      : xasprintf("%zu", buckets->resolution);
	cleanup_buffer struct buffer base = BUFFER_INIT;

	for (const char *p = model; *p && base.size < 60; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || *p == '-' || *p == '_';

		buffer_put_u8(&base, plain ? (uint8_t)*p : '_');
	}
	return xasprintf("%s-%s-%.8s", base.data ? (const char *)base.data : "vae", size,
			 recipe->id);
}
