#include "daemon/output_parts.h"

#include "daemon/state_queue.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DEAD_OWNER_MS = 5000 }; /* longest wait for the lock of a process that has died */

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
 * The lock of @folder, and who has or had it. A process that is killed while it starts a worker leaves its lock to that
 * until the worker has become another program: a dead owner's lock is waited for.
 */
static int lock_folder(const char *folder, int *fd, struct owner *owner, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/lock", folder);
	int64_t end = clock_mono_ms() + DEAD_OWNER_MS;

	for (;;) {
		int r = file_lock(path, 0666, fd, err);

		if (r < 0)
			return r;
		owner_read(folder, owner);
		if (r == 0 || !owner_is_dead(owner) || clock_mono_ms() >= end)
			return r == FILE_LOCKED ? OUTPUT_BUSY : 0;
		owner_release(owner);
		close(*fd);
		*fd = -1;
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
}

static int check_sharing(const struct output *o, struct error *err)
{
	cleanup_free char *own = xasprintf("%s/.latentd/owner.json", o->root);
	cleanup_free char *nodes = xasprintf("%s/.latentd/nodes", o->root);

	if (o->node && file_exists(own))
		return error_set(err, ERR_CONFIG,
				 "%s was encoded with a queue of its own: give another output with "
				 "queue.postgres",
				 o->root);
	if (!o->node && file_exists(nodes))
		return error_set(err, ERR_CONFIG,
				 "%s is shared by nodes with a queue in PostgreSQL: there only "
				 "their daemons change anything, and latentctl gc, compact and "
				 "attach; give another output",
				 o->root);
	return 0;
}

static int lock_root(struct output *o, struct owner *owner, struct error *err)
{
	cleanup_free char *folder = owner_folder(o->root, o->node);
	int r;

	if (check_sharing(o, err) < 0)
		return -1;

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
	if (owner_output(&of_state, o->root))
		return NULL;
	for (size_t i = 0; i < of_state.n_outputs; i++) {
		if (output_still_claims(of_state.outputs[i].path, state))
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

	return owner->state[0] && owner_is_here(owner) && file_exists(owner->state) && !other;
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
	known = owner_output(&of_state, o->root);
	o->last_device = known ? known->device : 0;
}

/* With both locks held: half-written files of a run that died, and who works here now. */
static int take_over(const struct output *o, struct error *err)
{
	cleanup_free char *folder = owner_folder(o->root, o->node);

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

/* @r: how it went so far. *@o becomes *@output, with the owner's name too where that is busy, or is closed. */
static int hand_over(struct output *o, int r, struct output *output, struct error *err)
{
	if (r == 0) {
		remember_device(o);
		r = take_over(o, err);
	}
	if (r < 0)
		output_close(o);
	else
		*output = *o;
	return r;
}

int output_open(const char *out, const char *state, struct output *output, struct error *err)
{
	struct output o = OUTPUT_INIT;
	cleanup_owner struct owner owner = {.pid = 0};
	int r = open_root(out, &o, &owner, err);

	if (r == 0)
		r = choose_state(&o, state, &owner, err);
	if (r == 0)
		r = state_queue_must_be_own(o.state, err);
	if (r == 0)
		r = lock_state(o.state, &o.state_lock_fd, &o.owner, err);
	if (r == 0)
		r = atomic_file_sweep(o.state, err);
	return hand_over(&o, r, output, err);
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
	int r;

	o.node = state->node;
	r = open_root(out, &o, &owner, err);
	o.state = xstrdup(state->path);
	o.socket = state->socket;
	if (r == 0)
		r = check_attached(&o, &owner, err);
	return hand_over(&o, r, output, err);
}

/* Only told to people: a full disk does not keep a daemon from starting. */
static void name_owner_of_state(const struct state_folder *s)
{
	const struct output none_yet = {.state = s->path, .socket = s->socket};
	struct error err = ERROR_INIT;

	if (owner_write(s->path, &none_yet, owner_outputs_json(&none_yet), &err) < 0)
		error_clear(&err);
}

int state_folder_open(const char *path, const char *socket, struct state_folder *state,
		      struct error *err)
{
	struct state_folder s = STATE_FOLDER_INIT;
	int r;

	s.socket = socket;
	if (dir_make(path, err) < 0)
		return -1;
	s.path = absolute(path, err);
	if (!s.path)
		return -1;
	r = lock_state(s.path, &s.lock_fd, &s.owner, err);
	if (r == 0)
		r = atomic_file_sweep(s.path, err);
	if (r == 0)
		name_owner_of_state(&s);
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
	if (has_shards && o->last_device != 0 && o->last_device != output_device(o->root))
		return error_set(
		    err, ERR_CONFIG,
		    "%s is on another disk than when it was encoded, and its shards "
		    "are not there: is it mounted? If they are gone for good, remove %s",
		    o->root, o->state);
	return owner_write(o->state, o, owner_outputs_json(o), err);
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
	cleanup_free char *folder = root ? output_owner_folder(root) : NULL;
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
	*running =
	    fcntl(fd, F_OFD_GETLK, &held) == 0 && held.l_type != F_UNLCK && !owner_is_dead(&owner);
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
	return !output_still_claims(there, o->state);
}
