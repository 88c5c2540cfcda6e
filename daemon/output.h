/*
 * An output folder and who owns it.
 *
 *	OUT/.latentd/lock, owner.json    locked by the process that works here; names host, process and state
 *	                                 folder, also after that process has ended
 *	OUT/NAME/.latentd/dataset.json   recipe of the dataset: written once, never changed
 *	OUT/.latentd/queue.json          the database of the queue, where several nodes share the output
 *	OUT/.latentd/nodes/NODE/         the same two files of each node, where several share the output and a queue
 *	STATE/lock, owner.json, queue.db, spool/   on a local disk, never in OUT; names its outputs
 *
 * A command works on one output with the state that this has:
 *
 *	r = output_open("OUT", NULL, &output, err);      0, or OUTPUT_BUSY: output.owner says by whom
 *	output_claim(&output, has_shards, err)           from now on the state is this output's
 *	output_check_dataset(&output, name, &recipe, &there, err), output_make_dataset(...)
 *	output_close(&output);
 *
 * The daemon has one state for all its outputs:
 *
 *	r = state_folder_open("STATE", socket, &state, err);  0, or OUTPUT_BUSY: state.owner says by whom
 *	r = output_attach("OUT", &state, &output, err);  likewise, for each; then as above
 *	output_close(&output); state_folder_close(&state);
 *
 * An output that was moved keeps its state; one that was copied gets a state of its own, into which its shards
 * are adopted.
 */
#ifndef LATENTD_DAEMON_OUTPUT_H
#define LATENTD_DAEMON_OUTPUT_H

#include "daemon/recipe.h"

#include <stdbool.h>

#define OUTPUT_BUSY 1

struct output {
	char *root;	    /* OUT, absolute */
	char *state;	    /* state folder, absolute */
	char *owner;	    /* one line about who has the lock, when it is not us */
	const char *socket; /* of the daemon that has the state; NULL: there is none */
	const char *node;   /* that this is; NULL: the output is not shared */
	int lock_fd, state_lock_fd;
	uint64_t last_device; /* that OUT was on when this state was last used; 0: never */
};

#define OUTPUT_INIT                                                                                \
	{                                                                                          \
		NULL, NULL, NULL, NULL, NULL, -1, -1, 0                                            \
	}

/* A state folder whose lock is ours. */
struct state_folder {
	char *path;	    /* absolute */
	char *owner;	    /* one line about who has the lock, when it is not us */
	const char *socket; /* as it was opened with */
	const char *node; /* the caller's, of those that share the queue; NULL: it is not shared */
	int lock_fd;
};

#define STATE_FOLDER_INIT                                                                          \
	{                                                                                          \
		NULL, NULL, NULL, NULL, -1                                                         \
	}

/* Makes the folder where needed and takes its lock. @socket: of the daemon that works here, or NULL; not copied. */
int state_folder_open(const char *path, const char *socket, struct state_folder *state,
		      struct error *err);
void state_folder_close(struct state_folder *state);

/*
 * Makes OUT where needed and takes its lock, to be used with @state, which stays the caller's. ERR_CONFIG: OUT has
 * a state elsewhere on this host, or one lies in the other.
 */
int output_attach(const char *out, const struct state_folder *state, struct output *output,
		  struct error *err);

/*
 * Makes OUT and the state folder where needed and takes both locks. @state NULL: the one that OUT already
 * has on this host, else XDG_STATE_HOME/latentd/NAME-HASH. ERR_CONFIG: OUT belongs to another state folder
 * than the one asked for.
 */
int output_open(const char *out, const char *state, struct output *output, struct error *err);
/*
 * The state names this output from now on. @has_shards: the queue knows shards of the dataset, but its folder is not
 * there. ERR_CONFIG then, if OUT is on another device than the last time: it is probably not mounted.
 */
int output_claim(struct output *output, bool has_shards, struct error *err);
void output_close(struct output *output);

/*
 * Who owns OUT, without taking anything: for reading commands. @running: its owner is at work now; one that was killed is
 * not, though its lock may be there for a moment. ERR_CONFIG where nothing was ever encoded into OUT.
 */
int output_peek(const char *out, struct output *output, bool *running, struct error *err);

/* Where owner.json of OUT is: that of this machine's node, where several share it. To be freed. */
char *output_owner_folder(const char *root);
/* The socket that FOLDER/owner.json (OUT/.latentd or STATE) names; NULL: none. To be freed. */
char *output_socket(const char *folder);

/*
 * Whether the dataset called @name, whose folder the queue knows as @folder, is in this output: the state of a daemon
 * has those of other outputs, too. An output that was moved has its datasets under its old path.
 */
bool output_has_dataset(const struct output *output, const char *name, const char *folder);
/*
 * Whether OUT/NAME is there, and that it has this recipe if it is. ERR_CONFIG names the remedy and shows the
 * difference.
 */
int output_check_dataset(const struct output *output, const char *name, const struct recipe *recipe,
			 bool *there, struct error *err);
/* Makes OUT/NAME with its dataset.json; where another node has just done so, as output_check_dataset(). */
int output_make_dataset(const struct output *output, const char *name, const struct recipe *recipe,
			struct error *err);

/*
 * The output, which nodes share, is that database's from now on, as OUT/.latentd/queue.json says. ERR_CONFIG: it is another
 * one's, whose nodes would take these for their own.
 */
int output_bind_queue(const struct output *output, const char *cluster, struct error *err);

/* The dataset in @folder, OUT/NAME, has that form from now on. ERR_DATA: its dataset.json is damaged. */
int output_change_form(const char *folder, const struct dataset_form *form, struct error *err);

/* "MODEL-512-1a2b3c4d" from the model's short name, resolution and recipe. To be freed. */
char *output_default_name(const char *model, const struct recipe *recipe);

#endif
