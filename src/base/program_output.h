/*
 * What another program writes: started without a shell, waited for, and killed with all that it started when it takes too long.
 *
 *	const char *const argv[] = {"/usr/bin/keys", "--json", NULL};
 *	cleanup_buffer struct buffer text = BUFFER_INIT;
 *	program_output(argv, 60000, 64 << 10, &text, err)
 *
 * It has our environment, no input and no descriptor of ours; a name without a slash is looked for in PATH. What it leaves
 * running in the background is not waited for.
 */
#ifndef LATENTD_BASE_PROGRAM_OUTPUT_H
#define LATENTD_BASE_PROGRAM_OUTPUT_H

#include "base/buffer.h"

/*
 * ERR_CONFIG: it cannot be started, or it failed: with the last line that it wrote to its standard error. ERR_TRANSIENT: the time
 * is over. ERR_DATA `too_large`: more than @most bytes. What it wrote to standard output is in no message.
 */
int program_output(const char *const *argv, int timeout_ms, size_t most, struct buffer *out,
		   struct error *err);

#endif
