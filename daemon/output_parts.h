/*
 * What the parts of output.c share: owner.json, in OUT/.latentd and in the state folder, which says who works there or did
 * last.
 */
#ifndef LATENTD_DAEMON_OUTPUT_PARTS_H
#define LATENTD_DAEMON_OUTPUT_PARTS_H

#include "daemon/output.h"

#include "base/checked.h"

#include <limits.h>

struct json_t; /* of jansson.h */

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

void owner_release(struct owner *owner);

#define cleanup_owner cleanup_with(owner_release)

/* FOLDER/owner.json; a missing or damaged file says nothing. */
void owner_read(const char *folder, struct owner *owner);
/* Writes FOLDER/owner.json. @outputs (taken): NULL for that of an output. */
int owner_write(const char *folder, const struct output *o, struct json_t *outputs,
		struct error *err);

/* Of a state folder: the entry of the output at that path; NULL: it is none of its. */
const struct owned_output *owner_output(const struct owner *owner, const char *output);
/* The list for the owner.json of the state: this output (o->root; NULL: none), and the others but those that have another. */
struct json_t *owner_outputs_json(const struct output *o);

/* Where lock and owner.json of an output are: of each node its own, where several share it. To be freed. */
char *owner_folder(const char *root, const char *node);

/* On this host. */
bool owner_is_here(const struct owner *owner);
/* A process of this host that is no more. */
bool owner_is_dead(const struct owner *owner);
/* One line for a person: who uses @what. To be freed. */
char *owner_line(const char *what, const struct owner *owner);

/* Whether the output at @path says that its state is in @state. */
bool output_still_claims(const char *path, const char *state);
/* The disk that a folder is on; 0: it is not there. */
uint64_t output_device(const char *path);

#endif
