/*
 * The output folders of a daemon: each is locked once, however many datasets lie in it. One thread at a time.
 */
#ifndef LATENTD_DAEMON_OUTPUTS_H
#define LATENTD_DAEMON_OUTPUTS_H

#include "daemon/output.h"

struct outputs {
	struct output **items;
	size_t n, capacity;
};

#define OUTPUTS_INIT                                                                               \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

/*
 * The output at @path, attached to @state (output_attach) unless it is already; lives until outputs_close().
 * OUTPUT_BUSY: another process uses it, *@owner says which, in one line to be freed.
 */
int outputs_get(struct outputs *outputs, const char *path, const struct state_folder *state,
		struct output **out, char **owner, struct error *err);
void outputs_close(struct outputs *outputs);

#endif
