/*
 * An output folder and who owns it.
 *
 *	OUT/.latentd/lock             locked by the process that works here; its text names host, process and
 *	                              state folder, also after that process has ended
 *	OUT/NAME/.latentd/dataset.json   recipe of the dataset: written once, never changed
 *	STATE/lock, queue.db, spool/  on a local disk, never in OUT
 *
 *	r = output_open("OUT", NULL, &output, err);      0, or OUTPUT_BUSY: output.owner says by whom
 *	output_claim_dataset(&output, name, &recipe, err)
 *	output_close(&output);                           the text of the lock stays
 */
#ifndef LATENTD_DAEMON_OUTPUT_H
#define LATENTD_DAEMON_OUTPUT_H

#include "daemon/recipe.h"

#include <stdbool.h>

#define OUTPUT_BUSY 1

struct output {
	char *root;  /* OUT, absolute */
	char *state; /* state folder, absolute */
	char *owner; /* one line about who has the lock, when it is not us */
	int lock_fd, state_lock_fd;
};

#define OUTPUT_INIT                                                                                \
	{                                                                                          \
		NULL, NULL, NULL, -1, -1                                                           \
	}

/*
 * Makes OUT and the state folder where needed and takes both locks. @state NULL: the one that OUT already
 * has on this host, else XDG_STATE_HOME/latentd/NAME-HASH. ERR_CONFIG: OUT belongs to another state folder
 * than the one asked for.
 */
int output_open(const char *out, const char *state, struct output *output, struct error *err);
void output_close(struct output *output);

/*
 * Who owns OUT, without taking anything: for reading commands. @running: its owner is at work now. ERR_CONFIG
 * where nothing was ever encoded into OUT.
 */
int output_peek(const char *out, struct output *output, bool *running, struct error *err);

/*
 * Makes OUT/NAME with its dataset.json, or checks that it has this recipe. ERR_CONFIG shows the difference and
 * names the remedy.
 */
int output_claim_dataset(const struct output *output, const char *name, const struct recipe *recipe,
			 struct error *err);

/* "MODEL-512-1a2b3c4d" from the model's folder, resolution and recipe. To be freed. */
char *output_default_name(const char *model, const struct recipe *recipe);

#endif
