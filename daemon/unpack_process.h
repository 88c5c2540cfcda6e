/*
 * Archives parsed by a `latentd-unpack` process (unpack.h is the interface). The process is started when it is first
 * asked something, is confined as decoders are, and ends with unpack_close(). One that dies, lies, or says nothing for
 * UNPACK_SILENCE_MS is ended: that costs the member, or what of a list did not come, with ERR_DATA `worker_died` or
 * `timeout`; the next question starts another.
 *
 * It waits for its process, so it is for threads that may wait.
 */
#ifndef LATENTD_DAEMON_UNPACK_PROCESS_H
#define LATENTD_DAEMON_UNPACK_PROCESS_H

#include "source/unpack.h"

#define UNPACK_SILENCE_MS 60000

/* For struct source_folder_options: latentd-unpack beside this executable, with the limits of image files. */
int unpack_process_open(struct unpack **out, struct error *err);

struct unpack_process_options {
	const char *program;
	struct unpack_limits limits;
	int silence_ms;
};

int unpack_process_open_with(const struct unpack_process_options *options, struct unpack **out,
			     struct error *err);

#endif
