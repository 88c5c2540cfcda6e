/*
 * credential_process of a profile: a program that writes keys.
 *
 *	s3_process_keys("/opt/keys --account 'team a'", &issued, err)
 *
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html. The line is parted into words as Python's
 * shlex does it, which AWS's own tools use; no shell sees it.
 */
#ifndef LATENTD_NET_S3_PROCESS_H
#define LATENTD_NET_S3_PROCESS_H

#include "net/s3_issued.h"

/*
 * Words of @line, the last NULL; *out is one block, to be freed. Quotes as in a POSIX shell: of '...' all is taken as it is, in
 * "..." a backslash protects '"' and itself, elsewhere whatever follows. ERR_CONFIG: no word, or a quote that does not end.
 */
int s3_process_split(const char *line, char ***out, struct error *err);
/* Errors as of program_output(); ERR_DATA `protocol`: what it writes are no keys. */
int s3_process_keys(const char *line, struct s3_issued *out, struct error *err);

#endif
