/*
 * Files whose contents nobody else is to know: tokens, passwords, private keys.
 */
#ifndef LATENTD_CONFIG_SECRET_FILE_H
#define LATENTD_CONFIG_SECRET_FILE_H

#include "base/error.h"

/*
 * ERR_CONFIG where @path is missing, no file, not readable, or readable for everybody on this machine. Readers of its group
 * are its owner's business. @setting: which names it.
 */
int secret_file_check(const char *setting, const char *path, struct error *err);

#endif
